//! The audit trail: what is in it, and that nobody can change it unnoticed.

use cameo_domain::{AuditAnchor, Scopes, Services, Sha256};
use cameo_store::{
    By, Store,
    audit::{self, AuditFilter, Break, Verified},
    generations::{self, Releases},
    keys::{self, NewKey},
    releases, runs,
    tenants::{self, TenantSettings},
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::support::{LEASE_SECONDS, World, at, batch, crm, release, scores};

impl World {
    /// Runs SQL as the database's owner who has switched every trigger off.
    async fn tamper(&self, sql: &str) {
        let mut connection =
            PgConnection::connect(&self.postgres.url()).await.expect("a connection");
        let sql = format!("set session_replication_role = replica; {sql}");
        connection.execute(AssertSqlSafe(sql)).await.expect("the owner may do anything");
    }

    async fn verified(&self) -> Verified {
        audit::verify(&self.store, Vec::new()).await.expect("the chain is read")
    }

    /// Where the chain breaks, and how.
    async fn broken(&self, anchors: Vec<AuditAnchor>) -> Option<(i64, Break)> {
        let verified = audit::verify(&self.store, anchors).await.expect("the chain is read");
        verified.broken.map(|broken| (broken.entry, broken.how))
    }

    async fn entries(&self) -> Vec<audit::AuditEntry> {
        let mut entries =
            audit::list(&self.store, &AuditFilter::default()).await.expect("the trail");
        entries.reverse();
        entries
    }

    /// Eight entries: a tenant, a release, its service, the release's move into production and what the
    /// service runs since; a run that is asked for, claimed and halted.
    async fn with_a_trail() -> Self {
        let world = Self::start().await;
        world.service("crm", "gender").await;
        world.request("crm", "gender", "2026-03-01T00:00:00Z").await;
        let run = world.claim().await.expect("a run");
        let reason = cameo_domain::Reason::new("test", "expected success, found a test");
        runs::halt(&world.store, run.run, run.epoch, reason).await.expect("halted");
        assert_eq!(world.verified().await.entries, 8);
        assert_eq!(world.broken(Vec::new()).await, None);
        world
    }

    async fn head(&self) -> AuditAnchor {
        audit::due_anchor(&self.store).await.expect("read").expect("a trail without an anchor")
    }
}

fn by(store: &Store, actor: &str, origin: &str) -> Store {
    store.acting(By::new(actor, origin))
}

#[tokio::test]
async fn every_change_of_state_says_who_made_it_and_from_where() {
    let world = World::start().await;
    let ada = by(&world.store, "cli:ada", "cli");
    let settings = TenantSettings { max_concurrent_runs: 7 };
    for _ in 0..2 {
        // The second time changes nothing.
        tenants::ensure(&ada, &crm(), &settings).await.expect("changed");
        let new = release("gender", &scores());
        releases::apply(&ada, &crm(), &new).await.expect("applied");
    }
    let api = by(&world.store, "tenant:crm", "api 10.0.0.7");
    let gender = "gender".parse().expect("a name");
    let mut generations = Vec::new();
    for due_at in ["2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"] {
        runs::create_manual(&api, &crm(), &gender, due_at, at(due_at), "tenant:crm")
            .await
            .expect("a run");
        let worker = by(&world.store, "worker-1", "worker");
        let run =
            runs::claim(&worker, "worker-1", LEASE_SECONDS).await.expect("a claim").expect("a run");
        let (generation, digest) = world.sealed(&run, &scores(), &[batch(0..10)]).await;
        let progress = runs::Progress::default();
        runs::heartbeat(&worker, run.run, run.epoch, LEASE_SECONDS, &progress).await.expect("held");
        world.publish(&run, &generation, digest).await.expect("a publication");
        generations.push(generation.id);
    }
    let caller = By::new("tenant:crm", "api 10.0.0.7");
    generations::rollback(&world.store, &crm(), &gender, None, Releases::Follow, &caller)
        .await
        .expect("back");
    let key = NewKey {
        prefix: "cam_abc".to_owned(),
        hash: Sha256::of("secret"),
        tenant: Some(crm()),
        name: "ci".to_owned(),
        scopes: Scopes::all(),
        services: Services::All,
        created_by: "cli:ada".to_owned(),
        expires_at: None,
    };
    keys::insert(&ada, &key).await.expect("kept");
    keys::touch(&ada, "cam_abc").await.expect("touched");
    let other = by(&world.store, "cli:grace", "cli");
    for _ in 0..2 {
        keys::revoke(&other, None, "cam_abc").await.expect("revoked");
    }
    world.sql("update cameo.tenants set max_concurrent_runs = 9").await.expect("by hand");

    let entries = world.entries().await;
    let told: Vec<_> = entries
        .iter()
        .map(|entry| (entry.action.as_str(), entry.actor.as_str(), entry.origin.as_str()))
        .collect();
    // The tenant was made by the platform before anybody said who acts; the superuser was by hand.
    let superuser = format!("postgres:{}", world.postgres.connection().user);
    let run = [
        ("run.requested", "tenant:crm", "api 10.0.0.7"),
        ("run.claimed", "worker-1", "worker"),
        ("run.published", "worker-1", "database"),
        ("generation.published", "worker-1", "database"),
    ];
    let mut expected = vec![
        ("tenant.created", "postgres:platform", "database"),
        ("tenant.changed", "cli:ada", "cli"),
        ("release.applied", "test", "test"),
        ("service.created", "test", "test"),
        ("release.moved", "test", "test"),
        ("service.changed", "test", "test"),
    ];
    expected.extend(run);
    expected.extend(run);
    expected.extend([
        ("generation.rolled_back", "tenant:crm", "api 10.0.0.7"),
        ("key.created", "cli:ada", "cli"),
        ("key.revoked", "cli:grace", "cli"),
        ("tenant.changed", superuser.as_str(), "database"),
    ]);
    assert_eq!(told, expected);
    assert_eq!(entries[1].detail["max_concurrent_runs"]["to"], 7);
    assert_eq!(entries[14].subject, generations[0].to_string());
    assert_eq!(entries[14].detail["previous"], generations[1].0);
    let trail = serde_json::to_string(&entries).expect("JSON");
    assert!(!trail.contains(&key.hash.to_string()), "the hash of a key is nobody's business");
    world.assert_sound().await;
}

#[tokio::test]
async fn a_tenant_lists_its_own_changes_alone_page_by_page() {
    let world = World::with_a_trail().await;
    world.tenant("other", 1).await;
    let mine = AuditFilter { tenant: Some(crm()), limit: 4, ..AuditFilter::default() };
    let first = audit::list(&world.store, &mine).await.expect("a page");
    let rest = AuditFilter { before: first.last().map(|entry| entry.entry), ..mine.clone() };
    let rest = audit::list(&world.store, &rest).await.expect("a page");
    let numbers: Vec<_> = first.iter().chain(&rest).map(|entry| entry.entry).collect();
    assert_eq!(numbers, [8, 7, 6, 5, 4, 3, 2, 1]);
    let of_service =
        AuditFilter { service: Some("gender".parse().expect("a name")), limit: 0, ..mine.clone() };
    let since = AuditFilter { since: Some(first[1].at), ..mine };
    assert_eq!(audit::list(&world.store, &of_service).await.expect("a page").len(), 7);
    assert_eq!(audit::list(&world.store, &since).await.expect("a page").len(), 2);
}

#[tokio::test]
async fn a_change_that_is_rolled_back_leaves_no_entry_and_no_gap() {
    let world = World::with_a_trail().await;
    world
        .sql("begin; update cameo.tenants set max_concurrent_runs = 1; rollback")
        .await
        .expect("rolled back");
    let refused = "begin; update cameo.tenants set max_concurrent_runs = 1; \
                   update cameo.runs set state = 'queued'; commit";
    assert!(world.sql(refused).await.is_err());
    assert_eq!(world.verified().await.entries, 8);
    world
        .sql(
            "begin; update cameo.tenants set max_concurrent_runs = 3; \
             update cameo.tenants set max_concurrent_runs = 4; commit",
        )
        .await
        .expect("two changes at once");
    let entries = world.entries().await;
    let quotas: Vec<_> =
        entries[8..].iter().map(|entry| &entry.detail["max_concurrent_runs"]["to"]).collect();
    assert_eq!(quotas, [3, 4], "in the order in which they were made");
    assert_eq!(world.broken(Vec::new()).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_the_same_time_leave_one_whole_chain() {
    const WRITERS: usize = 12;
    const CHANGES: u32 = 25;
    let world = World::start().await;
    let writers = (0..WRITERS).map(|writer| {
        let store = by(&world.store, &format!("writer-{writer}"), "test");
        tokio::spawn(async move {
            let tenant = format!("t{}", writer % 4).parse().expect("a name");
            for change in 0..CHANGES {
                let quota = 1 + (change * 13 + u32::try_from(writer).expect("small")) % 900;
                let settings = TenantSettings { max_concurrent_runs: quota };
                tenants::ensure(&store, &tenant, &settings).await.expect("no deadlock");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("no panic");
    }
    let verified = world.verified().await;
    assert_eq!(verified.broken, None);
    assert!(verified.entries > i64::from(CHANGES), "{verified:?}");
    let ordered = "select count(*) from (select at < lag(at) over (order by entry) as back
                   from cameo.audit) entries where back";
    assert_eq!(world.number(ordered).await, 0, "the chain is in the order of time");
    world.assert_sound().await;
}

#[tokio::test]
async fn an_edit_of_any_field_is_found_where_it_is() {
    let world = World::with_a_trail().await;
    for edit in [
        "at = at + interval '1 microsecond'",
        "at = 'infinity'",
        "actor = 'somebody else'",
        "origin = 'elsewhere'",
        "tenant = 'other'",
        "tenant = null",
        "service = 'other'",
        "service = ''",
        "action = 'run.cancelled'",
        "subject = '99'",
        "subject = subject || ' '",
        "detail = detail || '{\"attempt\": 9}'",
        "previous_hash = repeat('0', 64)",
        "hash = repeat('0', 64)",
    ] {
        world.tamper("create table public.before as select * from cameo.audit").await;
        world.tamper(&format!("update cameo.audit set {edit} where entry = 4")).await;
        assert_eq!(world.broken(Vec::new()).await, Some((4, Break::Edited)), "{edit}");
        world
            .tamper(
                "delete from cameo.audit; insert into cameo.audit select * from public.before; \
                 drop table public.before",
            )
            .await;
        assert_eq!(world.broken(Vec::new()).await, None, "restored after {edit}");
    }
    // Moving text from one field to the next keeps what both say together.
    world
        .tamper(
            "update cameo.audit set actor = actor || left(origin, 1), origin = substr(origin, 2)
             where entry = 4",
        )
        .await;
    assert_eq!(world.broken(Vec::new()).await, Some((4, Break::Edited)));
}

#[tokio::test]
async fn an_edited_entry_with_a_hash_made_for_it_is_found_by_the_entry_after_it() {
    let world = World::with_a_trail().await;
    world
        .tamper(
            "update cameo.audit set actor = 'nobody' where entry = 4; \
             update cameo.audit a set hash = cameo.audit_hash(a) where entry = 4",
        )
        .await;
    assert_eq!(world.broken(Vec::new()).await, Some((4, Break::Edited)));
}

#[tokio::test]
async fn a_deleted_entry_is_missing_and_the_others_cannot_close_the_gap() {
    let world = World::with_a_trail().await;
    world.tamper("delete from cameo.audit where entry = 3").await;
    assert_eq!(world.broken(Vec::new()).await, Some((3, Break::Missing)));
    let close = "update cameo.audit set entry = entry - 1 where entry = 4; \
                 update cameo.audit set entry = entry - 1 where entry = 5; \
                 update cameo.audit set entry = entry - 1 where entry = 6; \
                 update cameo.audit set entry = entry - 1 where entry = 7; \
                 update cameo.audit set entry = entry - 1 where entry = 8; \
                 update cameo.audit_head set entries = 7";
    world.tamper(close).await;
    assert_eq!(world.broken(Vec::new()).await, Some((3, Break::Reordered)));
}

#[tokio::test]
async fn swapped_entries_are_found() {
    let world = World::with_a_trail().await;
    world
        .tamper(
            "update cameo.audit set entry = 99 where entry = 3; \
             update cameo.audit set entry = 3 where entry = 5; \
             update cameo.audit set entry = 5 where entry = 99",
        )
        .await;
    assert_eq!(world.broken(Vec::new()).await, Some((3, Break::Reordered)));
}

#[tokio::test]
async fn a_truncated_tail_is_found_by_the_head_and_with_the_head_rewritten_by_the_anchor() {
    let world = World::with_a_trail().await;
    let anchor = world.head().await;
    assert_eq!(anchor.entry, 8);
    world.tamper("delete from cameo.audit where entry > 4").await;
    assert_eq!(world.broken(Vec::new()).await, Some((5, Break::Truncated)));
    world
        .tamper(
            "update cameo.audit_head set entries = 4,
                 hash = (select hash from cameo.audit where entry = 4)",
        )
        .await;
    assert_eq!(world.broken(Vec::new()).await, None, "nothing in the database can tell");
    assert_eq!(world.broken(vec![anchor]).await, Some((5, Break::Truncated)));
    world.tamper("truncate cameo.audit; delete from cameo.audit_head").await;
    assert_eq!(world.broken(vec![anchor]).await, Some((1, Break::Truncated)));
    assert_eq!(world.broken(Vec::new()).await, Some((0, Break::HeadDiffers)));
}

#[tokio::test]
async fn a_chain_that_was_written_anew_as_a_whole_is_not_the_anchored_one() {
    let world = World::with_a_trail().await;
    let anchor = world.head().await;
    world
        .tamper(
            "update cameo.audit set actor = 'nobody' where entry = 2;
             do $$
             declare
                 last text := (select hash from cameo.audit where entry = 1);
                 a cameo.audit;
             begin
                 for a in select * from cameo.audit where entry > 1 order by entry loop
                     a.previous_hash := last;
                     last := cameo.audit_hash(a);
                     update cameo.audit set previous_hash = a.previous_hash, hash = last
                     where entry = a.entry;
                 end loop;
                 update cameo.audit_head set hash = last;
             end $$",
        )
        .await;
    assert_eq!(world.broken(Vec::new()).await, None, "nothing in the database can tell");
    assert_eq!(world.broken(vec![anchor]).await, Some((8, Break::AnchorDiffers)));
}

#[tokio::test]
async fn a_head_row_that_was_edited_is_found() {
    let world = World::with_a_trail().await;
    world.tamper("update cameo.audit_head set hash = repeat('a', 64)").await;
    assert_eq!(world.broken(Vec::new()).await, Some((8, Break::HeadDiffers)));
    world.tamper("update cameo.audit_head set entries = 7").await;
    assert_eq!(world.broken(Vec::new()).await, Some((8, Break::HeadDiffers)));
    world.tamper("update cameo.audit_head set entries = 9").await;
    assert_eq!(world.broken(Vec::new()).await, Some((9, Break::Truncated)));
}

#[tokio::test]
async fn an_anchor_is_due_at_the_first_entry_and_one_that_vanishes_is_missed() {
    let world = World::with_a_trail().await;
    let anchor = world.head().await;
    audit::note_anchor(&world.store, &anchor).await.expect("noted");
    world.tenant("other", 1).await;
    assert_eq!(audit::due_anchor(&world.store).await.expect("read"), None, "not so soon again");
    assert_eq!(world.broken(vec![anchor]).await, None);
    assert_eq!(world.broken(Vec::new()).await, Some((8, Break::AnchorMissing)));
    world.tamper("update cameo.audit_anchors set written_at = now() - interval '1 hour'").await;
    assert_eq!(world.head().await.entry, 9);
}

#[tokio::test]
async fn the_trail_refuses_what_its_triggers_see() {
    let world = World::with_a_trail().await;
    for refused in [
        "update cameo.audit set actor = 'nobody'",
        "delete from cameo.audit",
        "truncate cameo.audit",
        "update cameo.audit_head set entries = 3",
        "delete from cameo.audit_head",
        "insert into cameo.audit_head (only_row, entries, hash) values (true, 0, '')",
        "update cameo.audit_anchors set entry = 1",
    ] {
        // There is nothing to update among the anchors before one is noted.
        let anchor = world.head().await;
        audit::note_anchor(&world.store, &anchor).await.expect("noted");
        assert!(world.sql(refused).await.is_err(), "accepted: {refused}");
        world.tamper("delete from cameo.audit_anchors").await;
    }
    // An entry that somebody adds is placed like every other.
    world
        .sql(
            "insert into cameo.audit values (999, 'epoch', 'a', 'b', null, null, 'c', 'd', '{}',
                 'x', 'y')",
        )
        .await
        .expect("added");
    let entries = world.entries().await;
    assert_eq!(entries.last().map(|entry| entry.entry), Some(9));
    assert_eq!(world.broken(Vec::new()).await, None);
    world.tamper("update cameo.audit set actor = 'nobody' where entry = 9").await;
    let breaches = cameo_store::invariants::check(&world.store).await.expect("the check");
    assert_eq!(breaches.len(), 1, "{breaches:#?}");
}
