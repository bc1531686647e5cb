-- An answer to a question begins a turn only where nothing else was said since. The program sees to that
-- itself, in the transaction that begins the turn; the other engine has a function for it.
SELECT 1;
