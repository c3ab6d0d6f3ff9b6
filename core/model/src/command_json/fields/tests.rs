use serde::Deserialize;
use uuid::Uuid;

use super::*;

#[derive(Debug, Deserialize)]
#[serde(try_from = "i64")]
struct Grade(#[expect(dead_code, reason = "read by nobody")] i64);

impl TryFrom<i64> for Grade {
    type Error = String;
    fn try_from(grade: i64) -> Result<Self, String> {
        if (1..=5).contains(&grade) { Ok(Self(grade)) } else { Err(format!("is {grade}; send 1 to 5")) }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Color {
    DeepBlue,
    Red,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(dead_code, reason = "read by nobody")]
enum Sample {
    Paint {
        id: Uuid,
        name: String,
        #[serde(default)]
        color: Option<Color>,
        grade: Grade,
        note: Option<String>,
        #[serde(default)]
        force: bool,
        tags: Vec<String>,
    },
    Archive {},
}

#[test]
fn a_commands_fields_are_told_by_its_own_deserialize() {
    let fields = command_fields::<Sample>("paint");
    let told: Vec<_> = fields.iter().map(|field| (field.name, field.kind, field.required)).collect();
    let expected = [
        ("id", FieldKind::Uuid, true),
        ("name", FieldKind::Text, true),
        ("color", FieldKind::Word(&["deep_blue", "red"]), false),
        ("grade", FieldKind::Integer, true),
        ("note", FieldKind::Text, false),
        ("force", FieldKind::Boolean, false),
        ("tags", FieldKind::List, true),
    ];
    assert_eq!(told, expected);
    assert_eq!(fields[3].rule.as_deref(), Some("send 1 to 5"));
    assert_eq!((&fields[1].rule, &fields[2].example), (&None, &Some(json!("deep_blue"))));
    assert_eq!(command_fields::<Sample>("archive"), []);
    assert_eq!(command_fields::<Sample>("nothing"), []);
}
