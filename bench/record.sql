-- A million calls over a month: 200 people, 50,000 sessions (a quarter of them tasks), 12 models and one that is rare, 3 providers,
-- refusals one in a thousand, prompts of usual length.
\set organization '00000000-0000-7000-8000-000000000001'
INSERT INTO users (id, organization_id, username, email, roles)
SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, :'organization', 'user' || n, 'user' || n || '@example.org', ARRAY['member']
FROM generate_series(4096, 4295) n;
INSERT INTO groups (id, organization_id, name)
SELECT ('00000000-0000-7000-8000-00000000a00' || n)::uuid, :'organization', name
FROM (VALUES (1, 'platform'), (2, 'pair'), (3, 'nobody')) t (n, name);
INSERT INTO group_members (group_id, user_id)
SELECT uuid '00000000-0000-7000-8000-00000000a001', id FROM users WHERE username ~ '^user[0-9]*[02468]$'
UNION ALL SELECT uuid '00000000-0000-7000-8000-00000000a002', id FROM users WHERE username IN ('user4107', 'user4211');
CREATE TEMP TABLE calls AS
SELECT n, at, n / 20 AS session, (hashint4(n * 7) & 2147483647) AS h, (hashint4(n / 20) & 2147483647) AS s,
       (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(n & 4095), 3, '0') || '8' || lpad(to_hex(n), 15, '0'))::uuid AS id
FROM (SELECT n, now() - (1000000 - n) * interval '2.5 seconds' AS at FROM generate_series(1, 1000000) n) t;
INSERT INTO ai_interceptions (
    id, organization_id, initiator_id, task_id, task_step, replica_id, request_id, provider, provider_name, protocol, route, model,
    streamed, client, client_session_id, credential_hint, policy, price_id, hold, request_hash, request_size, prompt_hash, started_at,
    ended_at, status, http_status, stop_reason, content_mode)
SELECT id, :'organization', ('00000000-0000-7000-8000-' || lpad(to_hex(4096 + s % 200), 12, '0'))::uuid,
       CASE WHEN session % 4 = 0 THEN ('00000000-0000-7000-8000-1' || lpad(to_hex(session), 11, '0'))::uuid END,
       CASE WHEN session % 4 = 0 THEN n % 20 END, gen_random_uuid(), 'req-' || n, 'anthropic',
       CASE WHEN session % 25011 = 11 THEN 'rare-provider' ELSE (ARRAY['anthropic', 'openai'])[1 + session % 2] END, 'messages', 'v1/messages',
       CASE WHEN h % 100003 = 0 THEN 'rare-model' ELSE 'model-' || s % 12 END, true,
       CASE WHEN session % 25013 = 7 THEN 'rare-client' ELSE (ARRAY['Claude Code', 'Codex', 'Slipway', 'SDK'])[1 + session % 4] END,
       CASE WHEN session % 3 > 0 THEN 'session-' || session END, 'sk-a...bcde',
       CASE WHEN h % 997 = 0 THEN 'policy:deny-dear' ELSE 'policy:' || s % 5 END, 'p1', CASE WHEN h % 997 = 0 THEN 0 ELSE 50000000 END,
       sha256(n::text::bytea), 4000, sha256(n::text::bytea), at, at + interval '3 seconds',
       CASE WHEN h % 997 = 0 THEN 'refused' ELSE 'completed' END, 200, 'end_turn', 'full'
FROM calls;
INSERT INTO ai_ledger (
    interception_id, attempt, organization_id, user_id, budget_ids, provider, model, state, input_tokens, cache_read_input_tokens,
    cache_write_5m_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens, web_searches, ttl_unknown, hold, cost, price_id,
    answer_hash, answer_size, tools_hash, settled_at)
SELECT i.id, 1, i.organization_id, i.initiator_id, '{1}', i.provider_name, i.model, 'final', 1000 + c.h % 5000, 10000, 100, 0, 200 + c.h % 800,
       0, 0, false, 50000000, CASE WHEN c.h % 10007 = 0 THEN 5000000000 ELSE 1000000 + c.h % 30000000 END, 'p1', i.request_hash, 2000,
       i.request_hash, i.ended_at
FROM calls c JOIN ai_interceptions i USING (id) WHERE i.status <> 'refused';
INSERT INTO ai_user_prompts
SELECT id, :'organization', 'please look at file ' || h % 1000 || ' and fix the parser of module ' || session % 500
       || repeat(' with words that stand here for a prompt of usual length', 3) || CASE WHEN h % 50021 = 0 THEN ' pomegranate' ELSE '' END
FROM calls;
INSERT INTO ai_tool_usages
SELECT id, 0, :'organization', 'toolu_' || n,
       CASE WHEN h % 70001 = 0 THEN 'rare_tool' ELSE (ARRAY['Bash', 'Read', 'Edit', 'Grep', 'WebFetch'])[1 + h % 5] END, '{"path":"a"}'
FROM calls WHERE h % 2 = 0;
-- Entries with which followers find bookings; no digests, for nothing is verified here.
INSERT INTO audit_chains (id, replica_id, name) VALUES ('00000000-0000-7000-8000-0000000000cc', gen_random_uuid(), 'ledger');
INSERT INTO audit_entries
SELECT '00000000-0000-7000-8000-0000000000cc', row_number() OVER (ORDER BY settled_at, interception_id), sha256(''), sha256(''), 'ledger',
       interception_id || '/1', (extract(epoch FROM settled_at) * 1000000)::bigint
FROM ai_ledger;
-- What the follower of texts would write in some hours.
INSERT INTO ai_texts SELECT interception_id, organization_id, to_tsvector('simple', prompt) FROM ai_user_prompts ON CONFLICT DO NOTHING;
INSERT INTO audit_cursors SELECT 'texts', chain, max(n) FROM audit_entries WHERE chain = '00000000-0000-7000-8000-0000000000cc' GROUP BY chain
ON CONFLICT (follower, chain) DO UPDATE SET n = excluded.n;
INSERT INTO audit_facts (id, organization_id, actor_id, kind, subject, body, at)
SELECT gen_random_uuid(), :'organization', NULL, 'content.read', 'call ' || n, '{}', now() - n * interval '20 seconds' FROM generate_series(1, 100000) n;
ANALYZE;
