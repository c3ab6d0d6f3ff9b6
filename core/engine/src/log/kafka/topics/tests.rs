use super::suffices;

#[test]
fn sizes_may_be_larger_and_everything_else_must_be_as_it_is_said() {
    assert!(suffices("max.message.bytes", "9000000", "8388608"));
    assert!(!suffices("max.message.bytes", "1048588", "8388608"));
    assert!(suffices("retention.ms", "-1", "-1"));
    assert!(!suffices("retention.ms", "604800000", "-1"));
    assert!(!suffices("cleanup.policy", "compact,delete", "delete"));
    assert!(!suffices("retention.bytes", "", "-1"), "an answer that leaves it out");
}
