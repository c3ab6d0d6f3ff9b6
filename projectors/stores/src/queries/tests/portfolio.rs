//! What each query of `portfolio` answers.

use super::*;

async fn generation(history: &History) -> Rows {
    Rows::of(&newest_of("portfolio"), history).await
}

async fn applications_are_found_by_each_filter_and_by_all_of_them() {
    let mut history = History::default();
    for (number, name, project, criticality) in [
        (20, "alpha", Some(10), Criticality::High),
        (21, "alphabet", Some(10), Criticality::Low),
        (22, "beta", None, Criticality::High),
        (23, "alpha\u{10ffff}", Some(11), Criticality::High),
        (24, "ALPHA", None, Criticality::High),
    ] {
        let registered = Registered { name: name.into(), project_id: project.map(id), criticality, source: None };
        history.push(HERE, id(number), registered);
    }
    history.push(HERE, id(22), Retired { forced: false });
    let generation = generation(&history).await;
    let ten = id(10).to_string();
    let cases: &[(Given<'_>, &[&str])] = &[
        (&[], &["ALPHA", "alpha", "alphabet", "alpha\u{10ffff}", "beta"]),
        (&[("status", "retired")], &["beta"]),
        (&[("project_id", &ten)], &["alpha", "alphabet"]),
        (&[("criticality", "low")], &["alphabet"]),
        (&[("name", "alpha")], &["alpha"]),
        (&[("name_prefix", "alpha")], &["alpha", "alphabet", "alpha\u{10ffff}"]),
        (&[("name_prefix", "alpha\u{10ffff}")], &["alpha\u{10ffff}"]),
        (&[("name_prefix", "%")], &[]),
        (&[("name_prefix", "")], &["ALPHA", "alpha", "alphabet", "alpha\u{10ffff}", "beta"]),
        (&[("name_prefix", "a"), ("criticality", "high"), ("project_id", &ten), ("status", "active")], &["alpha"]),
        (&[("name", "' OR 1=1 --")], &[]),
    ];
    for (parameters, expect) in cases {
        let request = ask("portfolio.applications", HERE, parameters);
        assert_eq!(each(&generation.live, &request, "name").await, *expect, "{parameters:?}");
    }
}

async fn a_name_is_found_however_its_letters_are_composed_in_the_question() {
    let mut history = History::default();
    application(&mut history, HERE, 20, "caf\u{e9}", &[]);
    // As it was recorded before names had one form.
    application(&mut history, HERE, 21, "the\u{301}", &[20]);
    application(&mut history, HERE, 22, "caf\u{e9} noir", &[]);
    let generation = generation(&history).await;
    let cases: &[(Given<'_>, &[&str])] = &[
        (&[("name", "cafe\u{301}")], &["caf\u{e9}"]),
        (&[("name", "caf\u{e9}")], &["caf\u{e9}"]),
        (&[("name", "the\u{301}")], &["the\u{301}"]),
        (&[("name_prefix", "cafe\u{301}")], &["caf\u{e9}", "caf\u{e9} noir"]),
        (&[("name", "caf\u{e9}\u{200b}")], &[]),
    ];
    for (parameters, expect) in cases {
        let request = ask("portfolio.applications", HERE, parameters);
        assert_eq!(each(&generation.live, &request, "name").await, *expect, "{parameters:?}");
    }
    let dependents = ask("portfolio.dependents", HERE, &[("name", "cafe\u{301}")]);
    assert_eq!(each(&generation.live, &dependents, "name").await, ["the\u{301}"]);
    // A page goes on under either spelling of the question.
    let page = |prefix: &str, cursor| QueryRequest {
        limit: Some(1),
        cursor,
        ..ask("portfolio.applications", HERE, &[("name_prefix", prefix)])
    };
    let first = queries().answer(&page("cafe\u{301}", None), &generation.live).await.unwrap();
    assert_eq!(each(&generation.live, &page("caf\u{e9}", first.page.next_cursor), "name").await, ["caf\u{e9} noir"]);
}

async fn dependents_are_the_direct_ones_by_id_or_by_name() {
    let mut history = History::default();
    application(&mut history, HERE, 20, "serde", &[]);
    application(&mut history, HERE, 21, "json", &[20]);
    application(&mut history, HERE, 22, "api", &[20, 21]);
    application(&mut history, HERE, 23, "gone", &[20]);
    history.push(HERE, id(900), declared(id(21), id(20), Kind::Build));
    history.push(HERE, edge(23, 20), Withdrawn {});
    let generation = generation(&history).await;
    let serde = id(20).to_string();
    for parameter in [("application_id", serde.as_str()), ("name", "serde")] {
        let request = ask("portfolio.dependents", HERE, &[parameter]);
        let found: Vec<_> = rows(&generation.live, &request)
            .await
            .into_iter()
            .map(|row| (row["name"].clone(), row["kind"].clone(), row["to_name"].clone()))
            .collect();
        let of = |name: &str, kind: &str| (json!(name), json!(kind), json!("serde"));
        assert_eq!(found, [of("api", "runtime"), of("json", "build"), of("json", "runtime")]);
    }
    let build = ask("portfolio.dependents", HERE, &[("name", "serde"), ("kind", "build")]);
    assert_eq!(each(&generation.live, &build, "name").await, ["json"]);
}

async fn dependencies_carry_the_names_of_both_ends_and_forget_withdrawn_ones() {
    let mut history = History::default();
    application(&mut history, HERE, 20, "serde", &[]);
    application(&mut history, HERE, 21, "json", &[20]);
    application(&mut history, HERE, 22, "api", &[20, 21]);
    history.push(HERE, edge(22, 20), Withdrawn {});
    let generation = generation(&history).await;
    let pairs = async |parameters: &[(&str, &str)]| -> Vec<String> {
        let request = ask("portfolio.dependencies", HERE, parameters);
        let rows = rows(&generation.live, &request).await;
        rows.iter().map(|row| format!("{} {}", row["from_name"], row["to_name"]).replace('"', "")).collect()
    };
    let (twenty, twenty_two) = (id(20).to_string(), id(22).to_string());
    assert_eq!(pairs(&[]).await, ["json serde", "api json"]);
    assert_eq!(pairs(&[("from_application_id", &twenty_two)]).await, ["api json"]);
    assert_eq!(pairs(&[("to_application_id", &twenty)]).await, ["json serde"]);
    assert_eq!(pairs(&[("kind", "service")]).await, [] as [String; 0]);
}

async fn counts_name_their_project_and_those_without_one_come_first() {
    let mut history = History::default();
    history.push(HERE, id(10), Created { name: "kernel".into() });
    for (number, project) in [(20, Some(10)), (21, Some(10)), (22, None)] {
        let name = number.to_string();
        let project_id = project.map(id);
        history.push(HERE, id(number), Registered { name, project_id, criticality: Criticality::Low, source: None });
    }
    history.push(HERE, id(21), Retired { forced: false });
    let generation = generation(&history).await;
    let counts = rows(&generation.live, &ask("portfolio.application_counts", HERE, &[])).await;
    let ten = id(10).to_string();
    assert_eq!(
        counts,
        [
            json!({"project_id": null, "project": null, "status": "active", "applications": 1}),
            json!({"project_id": ten, "project": "kernel", "status": "active", "applications": 1}),
            json!({"project_id": ten, "project": "kernel", "status": "retired", "applications": 1}),
        ]
    );
}

async fn releases_come_in_the_order_in_which_they_were_recorded() {
    let mut history = History::default();
    application(&mut history, HERE, 20, "serde", &[]);
    application(&mut history, HERE, 21, "json", &[]);
    for (application, number) in [(20, "1.10.0"), (21, "7.0.0"), (20, "1.9.0"), (20, "1.2.0")] {
        history.push(HERE, id(application), VersionReleased { number: number.into() });
    }
    let generation = generation(&history).await;
    let twenty = id(20).to_string();
    let request = ask("portfolio.application_versions", HERE, &[("application_id", &twenty)]);
    assert_eq!(each(&generation.live, &request, "number").await, ["1.10.0", "1.9.0", "1.2.0"]);
}

/// A scan of a workspace, a sort of what an index has in order, or a search for the place where the page begins would
/// make a page cost what the table does.
#[tokio::test]
async fn pages_are_read_from_an_index_in_order() {
    let definition = newest_of("portfolio");
    let generation = generation(&History::default()).await;
    let one = id(1).to_string();
    let in_order: &[(&str, Given<'_>, &str)] = &[
        ("portfolio.projects", &[], "projects_by_name (tenant_id=? AND workspace_id=? AND (name,id)>(?,?))"),
        ("portfolio.applications", &[], "applications_by_name (tenant_id=? AND workspace_id=? AND (name,id)>(?,?))"),
        (
            "portfolio.dependencies",
            &[],
            "dependencies_by_from (tenant_id=? AND workspace_id=? AND \
             (from_application_id,to_application_id,id)>(?,?,?))",
        ),
        ("portfolio.applications", &[("name", "a")], "applications_by_name (tenant_id=? AND workspace_id=? AND name=?"),
        (
            "portfolio.applications",
            &[("name_prefix", "a")],
            "applications_by_name (tenant_id=? AND workspace_id=? AND (name,id)>(?,?) AND name<?)",
        ),
        (
            "portfolio.applications",
            &[("project_id", &one)],
            "applications_by_project (tenant_id=? AND workspace_id=? AND project_id=? AND (name,id)>(?,?))",
        ),
        (
            "portfolio.application_versions",
            &[("application_id", &one)],
            "application_versions_by_application (tenant_id=? AND workspace_id=? AND application_id=? AND \
             (released_at,id)>(?,?))",
        ),
    ];
    for (name, parameters, search) in in_order {
        let plan = super::pages::plan(&definition, &generation, &ask(name, HERE, parameters)).await;
        assert!(plan.contains(&format!("USING INDEX {search}")), "{name} {parameters:?}:\n{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{name} {parameters:?}:\n{plan}");
    }
    for (name, parameter, index) in [
        ("portfolio.dependents", ("application_id", one.as_str()), "dependencies_by_to"),
        ("portfolio.dependents", ("name", "a"), "dependencies_by_to"),
        ("portfolio.dependencies", ("from_application_id", &one), "dependencies_by_from"),
        ("portfolio.dependencies", ("to_application_id", &one), "dependencies_by_to"),
        ("portfolio.cycle", ("application_id", &one), "dependencies_by_from"),
    ] {
        let plan = super::pages::plan(&definition, &generation, &ask(name, HERE, &[parameter])).await;
        assert!(plan.contains(&format!("USING INDEX {index}")), "{name} {parameter:?}:\n{plan}");
    }
}

on_each_store! {
    a_name_is_found_however_its_letters_are_composed_in_the_question,
    applications_are_found_by_each_filter_and_by_all_of_them,
    dependents_are_the_direct_ones_by_id_or_by_name,
    dependencies_carry_the_names_of_both_ends_and_forget_withdrawn_ones,
    counts_name_their_project_and_those_without_one_come_first,
    releases_come_in_the_order_in_which_they_were_recorded,
}
