// DemoModel
