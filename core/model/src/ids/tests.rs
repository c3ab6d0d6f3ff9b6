use proptest::prelude::*;

use super::*;

const CONTEXT: ContextId = ContextId { number: 0xa5, name: "test" };

fn scope(tenant: u128, workspace: u128) -> Scope {
    Scope { tenant: TenantId(Uuid::from_u128(tenant)), workspace: WorkspaceId(Uuid::from_u128(workspace)) }
}

proptest! {
    #[test]
    fn an_operation_id_routes_itself(tenant: u128, workspace: u128, request in "[a-z0-9]{1,40}") {
        let scope = scope(tenant, workspace);
        let id = OperationId::derive(CONTEXT, scope, &ClientRequestId::new(&request).unwrap());
        prop_assert!(id.is_well_formed());
        prop_assert_eq!(id.context_number(), CONTEXT.number);
        prop_assert_eq!(id.slot(), scope.slot());
        for index in [0, 1, 65_534] {
            let event = id.event(CommitIndex(index));
            prop_assert_eq!(event.operation(), id);
            prop_assert_ne!(event.0, id.0);
        }
    }

    #[test]
    fn spread_and_gather_are_inverse(free in 0u128..(1 << 122)) {
        prop_assert_eq!(gather(spread(free)), free);
    }

    #[test]
    fn every_slot_lies_in_a_partition(slot in 0u16..4096, partitions in 1u16..=4096) {
        prop_assert!(Slot(slot).partition(partitions).0 < partitions);
    }
}

#[test]
fn the_slot_of_a_scope_is_frozen() {
    assert_eq!(scope(0, 0).slot(), Slot(2461), "the slot function changed: every id and partition would move");
}

#[test]
fn another_request_is_another_operation() {
    let derive = |text| OperationId::derive(CONTEXT, scope(1, 2), &ClientRequestId::new(text).unwrap());
    assert_eq!(derive("a"), derive("a"));
    assert_ne!(derive("a"), derive("b"));
}

#[test]
fn client_request_ids_are_bounded_and_printable() {
    assert_eq!(ClientRequestId::new(""), Err(ClientRequestIdError::Length(0)));
    assert_eq!(ClientRequestId::new(&"x".repeat(129)), Err(ClientRequestIdError::Length(129)));
    assert_eq!(ClientRequestId::new("a\0b"), Err(ClientRequestIdError::Control));
}
