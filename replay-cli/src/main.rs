//! `annals`: the operator's and auditor's tool.
fn main() {}
