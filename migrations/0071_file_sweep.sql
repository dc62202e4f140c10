-- Files that no task names are found and removed without reading all tasks for each of them.
CREATE INDEX IF NOT EXISTS tasks_input_file ON tasks (input_file) WHERE input_file IS NOT NULL;
CREATE INDEX IF NOT EXISTS tasks_result_bundle ON tasks (result_bundle) WHERE result_bundle IS NOT NULL;
CREATE INDEX IF NOT EXISTS tasks_result_diff ON tasks (result_diff) WHERE result_diff IS NOT NULL;
CREATE INDEX IF NOT EXISTS files_age ON files (created_at);
