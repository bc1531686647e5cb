-- The version that a conversation had when it got the start of its first message for a title. While it still has that
-- version, nobody has given it another, and a better one may be made; null where there is nothing to make.

ALTER TABLE conversations ADD COLUMN drafted INTEGER;
