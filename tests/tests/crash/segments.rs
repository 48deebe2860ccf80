//! Workers that are killed while they make the members of a segment.

use cameo_crashpoint::SEGMENT;
use cameo_segment::membership::Membership;
use cameo_tests::{Process, Role, World, eventually};

use crate::published;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_be_killed_at_any_point_of_a_segment() {
    let world = World::start().await;
    let gender = published(&world).await;
    world.make_snapshots().await;
    for (nth, point) in SEGMENT.iter().chain(&SEGMENT).enumerate() {
        let condition = format!("gender.score >= {nth}");
        gender.define_segment("loyal", &condition, &[]).await;
        let mut worker = Process::dying_at(&world, Role::Worker, point);
        worker.killed().await;
        let made = eventually(&format!("{point}: another worker takes over"), async || {
            world.make_snapshots().await;
            world.make_members().await;
            let list = gender.materialisations("loyal").await;
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
