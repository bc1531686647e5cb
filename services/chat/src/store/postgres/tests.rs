use crate::{store::conformance::suite, testing::Server};

suite!(Server);
