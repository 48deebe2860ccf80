//! What applying a bundle would break, and who accepts it.

use cameo_bundle::discover;
use cameo_isolation::Isolation;
use cameo_registry::{
    ApplyError,
    inspection::inspect,
    plan::{Entry, PlanError, Scope, Server, plan},
    register,
};
use cameo_store::{By, releases};
use cameo_tests::{Bundle, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_breaks_consumers_needs_somebody_who_accepts_it_and_the_ledger_says_so() {
    let world = World::start().await;
    world.customers("marketing", 60, 1.0).await;
    let service = world.apply(&Bundle::new("marketing", "gender")).await;
    let (tenant, name) = (&service.path.tenant, &service.path.service);
    let folder = world.place.folder.join("bundles/marketing/gender");
    let config = folder.join("config.yaml");
    let text = std::fs::read_to_string(&config).expect("a config");
    let text = text.replace("[user_id, score, twin]", "[user_id, score]");
    std::fs::write(&config, text.replace("FLOAT64, FLOAT64]", "FLOAT64]")).expect("a config");

    let bundle = discover(&folder).bundles.remove(0);
    let artifacts = world.place.artifacts();
    let by = By::new("scenario", "test");
    let applied = async |accepts| {
        let inspection = inspect(&bundle, Some(&world.warehouse)).await;
        register(&world.store, &artifacts, &bundle, inspection, None, &by, accepts).await
    };
    let refused = applied(false).await.expect_err("consumers read `twin`");
    assert!(matches!(&refused, ApplyError::Breaking { changes, .. } if changes.len() == 1));
    assert_eq!(
        refused.to_string(),
        "marketing/gender would break its consumers: prediction twin FLOAT64 removed"
    );
    let history =
        async || releases::history(&world.store, tenant, name, None, 10).await.expect("the ledger");
    assert_eq!(history().await.len(), 1, "a refused release left nothing behind");

    applied(true).await.expect("it was accepted");
    let reason = "accepted as breaking: prediction twin FLOAT64 removed";
    assert_eq!(history().await[0].reason.as_deref(), Some(reason));
    applied(false).await.expect("what is in production already breaks nobody");
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_foretells_where_a_release_goes() {
    let world = World::start().await;
    world.customers("marketing", 60, 1.0).await;
    let service = world.apply(&Bundle::new("marketing", "gender")).await;
    let root = world.place.folder.join("bundles");
    let config = root.join("marketing/gender/config.yaml");
    let text = std::fs::read_to_string(&config).expect("a config");
    let artifacts = world.place.artifacts();
    let planned = async |release: &str| {
        std::fs::write(&config, format!("{text}{release}")).expect("a config");
        let server = Server {
            store: &world.store,
            artifacts: &artifacts,
            warehouse: &world.warehouse,
            seals: true,
            isolation: &Isolation::None,
        };
        let found = discover(&root);
        let scope = Scope::of(&root, &found);
        plan(server, found, &scope, 0).await
    };
    let same = planned("").await.expect("a plan");
    assert!(!same.changes() && same.unaffected.len() == 1, "{same:#?}");
    let protected = planned("RELEASE_CONFIG: {PROTECTED: true}\n").await.expect("a plan");
    let candidate = cameo_domain::Stage::Candidate;
    let entry = protected.services[0].entry;
    assert_eq!(entry, Entry::Enters { stage: candidate, again: false });
    let unsound = planned("RELEASE_CONFIG: {PROTECTED: maybe}\n").await;
    assert!(matches!(unsound, Err(PlanError::Unsound(problems)) if problems.len() == 1));

    releases::archive(&world.store, &service.path, None, &By::new("scenario", "test"))
        .await
        .expect("it is archived");
    let back = planned("").await.expect("a plan");
    let again = Entry::Enters { stage: cameo_domain::Stage::Production, again: true };
    assert_eq!(back.services[0].entry, again);
}
