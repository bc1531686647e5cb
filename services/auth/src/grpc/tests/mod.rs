//! The service through its whole stack, tokens and contract included, with a clock that stands still:
//! every case once on each engine, and what only a shared database can show.

mod on_postgres;
mod on_sqlite;
mod replicas;
mod statements;
mod world;
