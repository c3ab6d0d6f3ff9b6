use super::*;

#[test]
fn brokers_end_with_their_guardian() {
    let mut cluster = Cluster::start(1).unwrap();
    let directory = cluster.brokers[0].directory.clone();
    // As the death of the process would do it.
    cluster.guardian.finish();
    assert!(!cluster.brokers[0].process.as_mut().unwrap().wait().unwrap().success());
    assert!(!directory.exists());
}
