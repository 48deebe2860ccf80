//! Workers that are killed while they rank: readers see all rows of all customers of one run.

use std::path::PathBuf;

use cameo_domain::RunState;
use cameo_store::lookup;
use cameo_tests::{Process, Role, Service, World};

use crate::{ROWS, TODAY, YESTERDAY, level_after};

/// Offers, and so rows per customer.
const OFFERS: u64 = 2;

/// What readers see: rows, customers, and the level of all of them.
type Served = (u64, u64, Option<f64>);

/// Every customer gets `first` at level + 1 and `second` at level.
async fn offers(world: &World) {
    let select =
        "SELECT offer_id, 0.0 AS visits_weight, 1.0 AS level_weight, bonus::DOUBLE AS bonus,
            DATE '2024-12-31' AS valid_until
        FROM (VALUES ('second', 0), ('first', 1)) AS offers(offer_id, bonus)";
    world.table("marketing", "shop", "offers", select).await;
}

async fn served(world: &World, service: &Service<'_>) -> Served {
    let current = lookup::current(&world.store, Some(&service.path.tenant)).await;
    let current = current.expect("the database answers").remove(0);
    let table = format!("{:?}.{:?}", current.table.schema, current.table.name);
    let sql = format!(
        "select concat_ws(' ', count(*), count(distinct user_id), min(score + rank - 2),
             max(score + rank - 2), count(*) filter (where (rank = 1) <> (offer_id = 'first')))
         from {table}"
    );
    let text = world.texts(&sql).await.remove(0);
    let numbers: Vec<f64> = text.split(' ').map(|part| part.parse().expect("a number")).collect();
    let [rows, customers, least, most, misplaced] = numbers[..] else { panic!("{text}") };
    let level = ((least - most).abs() < f64::EPSILON && misplaced == 0.0).then_some(least);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "they are counts")]
    let counts = (rows as u64, customers as u64);
    (counts.0, counts.1, level)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_be_killed_while_it_ranks() {
    for point in ["first_batch_scored", "batch_written:2", "index_built", "publish_committed"] {
        let world = World::start().await;
        world.customers("marketing", ROWS, 1.0).await;
        offers(&world).await;
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let service = world.apply_folder(&folder.join("fixtures/ranking/marketing/offers")).await;
        service.publish(YESTERDAY).await;

        world.customers("marketing", ROWS, 2.0).await;
        let run = service.request(TODAY).await;
        Process::dying_at(&world, Role::Worker, point).killed().await;
        let level = level_after(point, 1.0, 2.0);
        assert_eq!(served(&world, &service).await, (ROWS * OFFERS, ROWS, Some(level)), "{point}");
        world.assert_sound().await;

        let healthy = world.worker(world.worker_config()).await;
        let ended = service.run_when("at its end", run, |run| run.state.is_finished()).await;
        healthy.stop().await;
        assert_eq!(ended.state, RunState::Published, "{point}: {ended:#?}");
        assert_eq!(served(&world, &service).await, (ROWS * OFFERS, ROWS, Some(2.0)), "{point}");
        assert_eq!(world.mirror().await, 2, "{point}: both generations are mirrored, once");
        world.assert_sound().await;
    }
}
