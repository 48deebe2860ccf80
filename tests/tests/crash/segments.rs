//! Workers that are killed while they make the members of a segment.

use cameo_crashpoint::SEGMENT;
use cameo_domain::SegmentName;
use cameo_segment::{Catalog, Draft, membership::Membership};
use cameo_store::{
    By,
    segments::{self, NewSegment},
    services,
};
use cameo_tests::{Process, Role, World, eventually};

use crate::published;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_be_killed_at_any_point_of_a_segment() {
    let world = World::start().await;
    let gender = published(&world).await;
    let tenant = &gender.path.tenant;
    let loyal: SegmentName = "loyal".parse().expect("a name");
    world.make_snapshots().await;
    let records = services::list(&world.store, Some(tenant)).await.expect("services");
    let schemas = records.into_iter().map(|record| (record.path.service, record.schema));
    let catalog = Catalog::new(schemas.collect());
    for (nth, point) in SEGMENT.iter().chain(&SEGMENT).enumerate() {
        let condition = format!("gender.score >= {nth}");
        let draft = Draft { condition, ..Draft::default() };
        let read = draft.read(&catalog).expect("a sound definition");
        let services = read.definition.services(&read.condition);
        let new = NewSegment { segment: loyal.clone(), definition: read.definition, services };
        let by = By::new("key:ann", "api");
        segments::define(&world.store, tenant, &new, &by).await.expect("defined");
        let mut worker = Process::dying_at(&world, Role::Worker, point);
        worker.killed().await;
        let made = eventually(&format!("{point}: another worker takes over"), async || {
            world.make_snapshots().await;
            world.make_members().await;
            let list = segments::materialisations(&world.store, tenant, &loyal).await;
            let list = list.expect("a list");
            (list.len() == nth + 1).then_some(list)
        })
        .await;
        assert_eq!(world.make_members().await, 0, "{point}: made once");
        for one in made {
            let path = world.place.artifacts().file_of(&one.sha256).expect("a file");
            let file = Membership::open(&path).expect("a membership file");
            assert_eq!(file.label().number, one.number, "{point}");
        }
        world.assert_sound().await;
    }
}
