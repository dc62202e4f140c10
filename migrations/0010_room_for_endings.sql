-- An interception is updated once, when it ends. With room left on its page that touches none of its five indexes; at 80 percent every
-- second one did.
ALTER TABLE ai_interceptions SET (fillfactor = 55);
