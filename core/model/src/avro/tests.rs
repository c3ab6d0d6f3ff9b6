use proptest::prelude::*;

use super::*;

fn written(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes);
    bytes
}

proptest! {
    #[test]
    fn what_is_written_is_read(long: i64, int: i32, flag: bool, double in prop::num::f64::NORMAL, text: String, none: bool) {
        let bytes = written(|out| {
            put_long(out, long);
            put_int(out, int);
            put_bool(out, flag);
            put_double(out, double);
            put_str(out, &text);
            put_option(out, (!none).then_some(long), put_long);
        });
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(reader.long(), Ok(long));
        prop_assert_eq!(reader.int(), Ok(int));
        prop_assert_eq!(reader.bool(), Ok(flag));
        prop_assert_eq!(reader.double(), Ok(double));
        prop_assert_eq!(reader.str(), Ok(text.as_str()));
        prop_assert_eq!(reader.option(Reader::long), Ok((!none).then_some(long)));
        prop_assert_eq!(reader.position(), bytes.len());
        prop_assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_long_that_ends_early_is_an_error(long: i64) {
        let bytes = written(|out| put_long(out, long));
        for length in 0..bytes.len() {
            prop_assert_eq!(Reader::new(&bytes[..length]).long(), Err(DecodeError::UnexpectedEnd { at: length }));
        }
    }
}

#[test]
fn the_bytes_are_those_of_the_avro_specification() {
    for (long, bytes) in [(0, &[0][..]), (-1, &[1]), (1, &[2]), (-64, &[0x7f]), (64, &[0x80, 1])] {
        assert_eq!(written(|out| put_long(out, long)), bytes);
    }
    assert_eq!(written(|out| put_str(out, "foo")), [6, b'f', b'o', b'o']);
    assert_eq!(written(|out| put_option(out, Some("a"), put_str)), [2, 2, b'a']);
}

#[test]
fn a_varint_of_more_than_64_bits_is_an_error() {
    let invalid = Err(DecodeError::Invalid { what: "long", at: 0 });
    assert_eq!(Reader::new(&[0xff; 12]).long(), invalid);
    let mut bytes = [0xff; 10];
    bytes[9] = 2;
    assert_eq!(Reader::new(&bytes).long(), invalid);
    bytes[9] = 1;
    assert_eq!(Reader::new(&bytes).long(), Ok(i64::MIN));
}

#[test]
fn values_outside_their_type_are_errors() {
    let large = written(|out| put_long(out, i64::from(i32::MAX) + 1));
    assert_eq!(Reader::new(&large).int(), Err(DecodeError::Invalid { what: "int", at: 0 }));
    assert_eq!(Reader::new(&[2]).bool(), Err(DecodeError::Invalid { what: "boolean", at: 0 }));
    assert_eq!(Reader::new(&[4]).branch(2), Err(DecodeError::Invalid { what: "union branch", at: 0 }));
    assert_eq!(Reader::new(&[1]).symbol(2), Err(DecodeError::Invalid { what: "enum symbol", at: 0 }));
    assert_eq!(Reader::new(&[1]).bytes(), Err(DecodeError::Invalid { what: "bytes", at: 0 }));
    let text = Reader::new(&[2, 0xff]).str();
    assert_eq!(text, Err(DecodeError::Invalid { what: "string (not utf-8)", at: 0 }));
}
