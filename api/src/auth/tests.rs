use std::os::unix::fs::PermissionsExt as _;

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

fn key() -> (tempfile::TempDir, SigningKey) {
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::open_or_create(&dir.path().join("signing-key.pk8")).unwrap();
    (dir, key)
}

fn tenant() -> TenantId {
    TenantId(Uuid::from_u128(7))
}

fn user() -> Actor {
    Actor::User(UserId(Uuid::from_u128(8)))
}

#[test]
fn a_token_names_its_tenant_actor_and_roles() {
    let (_dir, key) = key();
    for actor in [user(), Actor::Service("importer".into())] {
        let token = key.mint(tenant(), &actor, &[ROLE_OPERATOR], HOUR).unwrap();
        let roles = BTreeSet::from([ROLE_OPERATOR.to_owned()]);
        assert_eq!(key.verify(&token).unwrap(), Caller { tenant: tenant(), actor, roles });
    }
}

#[test]
fn the_key_survives_a_restart_and_is_readable_by_its_owner_alone() {
    let (dir, key) = key();
    let path = dir.path().join("signing-key.pk8");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let token = key.mint(tenant(), &user(), &[], HOUR).unwrap();
    assert!(SigningKey::open_or_create(&path).unwrap().verify(&token).is_ok());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left behind");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let (dir, _key) = key();
    let path = dir.path().join("signing-key.pk8");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(SigningKey::open_or_create(&path), Err(KeyError::Exposed { mode: 0o644, .. })));
}

#[test]
fn a_file_that_is_no_key_is_refused_and_kept() {
    let (dir, _key) = key();
    let path = dir.path().join("signing-key.pk8");
    fs::write(&path, b"no key").unwrap();
    assert!(matches!(SigningKey::open_or_create(&path), Err(KeyError::Invalid { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"no key");
}

#[test]
fn tokens_of_another_key_are_refused() {
    let ((_dir, key), (_other_dir, other)) = (key(), key());
    let token = other.mint(tenant(), &user(), &[], HOUR).unwrap();
    assert_eq!(key.verify(&token), Err(TokenError::Invalid));
}

#[test]
fn a_token_ends_and_begins_when_it_says() {
    let (_dir, key) = key();
    let ended = key.mint_at(now_s() - 7_200, tenant(), &user(), &[], HOUR).unwrap();
    assert_eq!(key.verify(&ended), Err(TokenError::Expired));
    let coming = key.mint_at(now_s() + 3_600, tenant(), &user(), &[], HOUR).unwrap();
    assert_eq!(key.verify(&coming), Err(TokenError::NotYet));
}

#[test]
fn every_registered_claim_is_required_and_checked() {
    let (_dir, key) = key();
    let good = serde_json::json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": Uuid::from_u128(8), "iat": now_s(), "nbf": now_s(),
        "exp": now_s() + 60, "tenant": Uuid::from_u128(7), "roles": [],
    });
    let sign =
        |claims: &serde_json::Value| jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), claims, &key.sign).unwrap();
    assert!(key.verify(&sign(&good)).is_ok());
    for claim in ["iss", "aud", "sub", "nbf", "exp", "tenant"] {
        let mut without = good.clone();
        without.as_object_mut().unwrap().remove(claim);
        assert!(key.verify(&sign(&without)).is_err(), "{claim} is missing");
        let mut wrong = good.clone();
        wrong[claim] = "nonsense".into();
        assert!(key.verify(&sign(&wrong)).is_err(), "{claim} is wrong");
    }
    for claim in ["tenant", "sub"] {
        let mut nil = good.clone();
        nil[claim] = Uuid::nil().to_string().into();
        assert_eq!(key.verify(&sign(&nil)), Err(TokenError::Claim(claim)));
    }
    for exp in [now_s() + limits::TOKEN_TTL_S_MAX + 3_600, i64::MAX as u64, u64::MAX] {
        let mut endless = good.clone();
        endless["exp"] = exp.into();
        assert_eq!(key.verify(&sign(&endless)), Err(TokenError::Claim("exp")), "until {exp}");
    }
    let mut critical = Header::new(Algorithm::EdDSA);
    critical.crit = Some(vec!["b64".to_owned()]);
    assert_eq!(key.verify(&jsonwebtoken::encode(&critical, &good, &key.sign).unwrap()), Err(TokenError::Critical));
}

#[test]
fn other_algorithms_and_changed_tokens_are_refused() {
    let (_dir, key) = key();
    let token = key.mint(tenant(), &user(), &[], HOUR).unwrap();
    // Known to be good, which must not make others good.
    assert!(key.verify(&token).is_ok());
    let mut parts = token.split('.');
    let (_, claims, signature) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    let hmac = jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &serde_json::json!({"sub": "service:x"}),
        &EncodingKey::from_secret(b"guess"),
    )
    .unwrap();
    for bad in ["", ".", "..", &format!("{none}.{claims}."), &format!("{none}.{claims}.{signature}"), &hmac] {
        assert_eq!(key.verify(bad), Err(TokenError::Invalid), "{bad}");
    }
    for index in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        // The last character of a part may carry bits that base64 leaves unused; the decoder refuses those as well.
        assert!(key.verify(std::str::from_utf8(&bytes).unwrap()).is_err(), "changed at {index}");
    }
}

#[test]
fn what_no_token_may_say_cannot_be_minted() {
    let (_dir, key) = key();
    for name in ["", "with space", "with:colon", "line\nbreak", &"x".repeat(65)] {
        let actor = Actor::Service(name.into());
        assert_eq!(key.mint(tenant(), &actor, &[], HOUR), Err(MintError::ServiceName(name.to_owned())));
    }
    assert_eq!(key.mint(tenant(), &user(), &["r"; 33], HOUR), Err(MintError::Roles(33)));
    assert!(matches!(key.mint(tenant(), &user(), &[], Duration::from_secs(u64::MAX)), Err(MintError::Ttl(_))));
}

#[test]
fn a_server_of_one_tenant_takes_no_other_tenants_token_even_if_it_took_it_before() {
    let (_dir, key) = key();
    let other = key.mint(TenantId(Uuid::from_u128(9)), &user(), &[], HOUR).unwrap();
    let own = key.mint(tenant(), &user(), &[], HOUR).unwrap();
    key.verify(&other).unwrap();
    let only = key.only_for(Some(tenant()));
    assert_eq!(only.verify(&other), Err(TokenError::OtherTenant));
    only.verify(&own).unwrap();
}
