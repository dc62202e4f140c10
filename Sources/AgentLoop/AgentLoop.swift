// AgentLoop
