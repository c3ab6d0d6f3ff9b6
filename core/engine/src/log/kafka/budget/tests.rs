use super::*;
use crate::log::kafka::settings::Clients;

const ALL: usize = 64 << 20;
const LARGEST: usize = 16 << 20;

#[test]
fn however_many_readers_there_are_they_take_no_more_than_the_budget_and_the_smallest_share_each() {
    let budget = Budget::new(ALL, LARGEST);
    let mut shares = Vec::new();
    for readers in 1..=5_000 {
        shares.push(budget.share());
        let taken: usize = shares.iter().map(|share| share.bytes).sum();
        assert!(taken <= ALL + readers * limits::KAFKA_READER_BYTES_MIN, "{readers} readers take {taken} bytes");
    }
    assert!(
        shares.is_sorted_by(|earlier, later| earlier.bytes >= later.bytes),
        "nobody gets more than who came before"
    );
    assert_eq!(shares[0].bytes, LARGEST);
    assert_eq!(shares[4_999].bytes, limits::KAFKA_READER_BYTES_MIN, "nobody has to wait");
}

#[test]
fn what_a_reader_had_is_for_the_next_ones_when_it_has_gone() {
    let budget = Budget::new(ALL, LARGEST);
    let shares: Vec<_> = (0..1_000).map(|_| budget.share()).collect();
    assert!(budget.left() < limits::KAFKA_READER_BYTES_MIN * 4);
    drop(shares);
    assert_eq!(budget.left(), ALL);
    assert_eq!(budget.share().bytes, LARGEST);
}

#[test]
fn a_reader_is_set_to_take_no_more_than_its_share() {
    let clients = Clients::new("127.0.0.1:1", &std::collections::BTreeMap::new()).unwrap();
    for bytes in [limits::KAFKA_READER_BYTES_MIN, limits::KAFKA_TAIL_BYTES_MAX, limits::KAFKA_FOLD_BYTES_MAX] {
        let config = clients.reader(bytes);
        let number = |name: &str| config.get(name).unwrap().parse::<usize>().unwrap();
        // librdkafka asks for more while less than this is queued: then what it asked for comes on top.
        let most = number("queued.max.messages.kbytes") * 1_024 + number("fetch.message.max.bytes");
        assert!(most <= bytes && most > bytes / 2, "{most} of {bytes}");
    }
}
