-- What a model has written of an answer that is not whole yet, so that another process can send it on. It is replaced as
-- the text grows and goes when the answer is stored.

CREATE TABLE texts (
    owner BLOB NOT NULL CHECK (length(owner) = 16),
    turn BLOB NOT NULL CHECK (length(turn) = 16),
    -- The step that the answer will have.
    step INTEGER NOT NULL,
    -- Which text it is: a model may begin anew.
    id BLOB NOT NULL CHECK (length(id) = 16),
    content TEXT NOT NULL,
    PRIMARY KEY (owner, turn),
    FOREIGN KEY (owner, turn) REFERENCES turns (owner, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
