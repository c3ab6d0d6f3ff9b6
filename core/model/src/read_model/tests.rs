use super::*;
use crate::event::SchemaCatalogue;

static NOTHING: SchemaCatalogue = SchemaCatalogue::new(&[]);

#[test]
#[should_panic(expected = "query \"shop.items\" has no name, no rows or no order")]
fn a_query_that_nobody_completed_is_refused() {
    Definition::new(ReadModel::new("shop", 1, &NOTHING), &[Query { name: "shop.items", ..Query::OF_TENANT }]);
}
