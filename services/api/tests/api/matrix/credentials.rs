//! Everybody who may ask, and what each may see and do.

use cameo_access::ApiKey;
use cameo_domain::{Role, Scope, Scopes, Services, TenantName};
use cameo_store::keys::{self, NewKey};
use chrono::{DateTime, Duration, Utc};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::plant::{ACORN, BIRCH, only};
use crate::{
    issuer::{ADMINS, Issuer, Signer},
    world::World,
};

/// What is sent as a bearer, and what it opens.
pub(crate) struct Credential {
    pub(crate) name: String,
    pub(crate) text: Option<String>,
    /// None where it opens nothing at all.
    pub(crate) opens: Option<Opens>,
}

/// What a credential opens.
#[derive(Clone)]
pub(crate) struct Opens {
    tenants: Vec<&'static str>,
    /// None: all of the tenants.
    service: Option<String>,
    scopes: Scopes,
}

impl Credential {
    pub(crate) fn sees_tenant(&self, tenant: &str) -> bool {
        self.opens.as_ref().is_some_and(|opens| opens.tenants.contains(&tenant))
    }

    pub(crate) fn sees(&self, tenant: &str, service: &str) -> bool {
        let opens = self.opens.as_ref();
        self.sees_tenant(tenant)
            && opens.is_some_and(|opens| opens.service.as_ref().is_none_or(|own| own == service))
    }

    /// Whether it has the scope wherever it opens anything.
    pub(crate) fn may(&self, scope: Option<Scope>) -> bool {
        let Some(opens) = &self.opens else { return false };
        scope.is_none_or(|scope| opens.scopes.allow(scope))
    }

    /// The tenants that it opens.
    pub(crate) fn tenants(&self) -> &[&'static str] {
        self.opens.as_ref().map_or(&[], |opens| &opens.tenants)
    }

    /// The only service that it opens, where it is for one.
    pub(crate) fn service(&self) -> Option<&str> {
        self.opens.as_ref()?.service.as_deref()
    }
}

/// All credentials, and of each tenant the prefix of the key that reaches all of it.
pub(crate) async fn all(
    world: &World,
    issuer: &Issuer,
    signer: &Signer,
) -> (Vec<Credential>, [(&'static str, String); 2]) {
    let mut found = Vec::new();
    let mut add = |name: &str, text: Option<String>, opens: Option<Opens>| {
        found.push(Credential { name: name.to_owned(), text, opens });
    };
    let opens = |tenants: &[&'static str], service: Option<String>, scopes: Scopes| {
        Some(Opens { tenants: tenants.to_vec(), service, scopes })
    };
    let all = Scopes::all();

    add("nobody", None, None);
    add("no key", Some("cameo_nonsense".to_owned()), None);
    let mut prefixes = [(ACORN, String::new()), (BIRCH, String::new())];
    for (tenant, prefix) in &mut prefixes {
        let key = key(world, Some(*tenant), all, Services::All, None).await;
        key.prefix().clone_into(prefix);
        add(tenant, Some(key.reveal().to_owned()), opens(&[*tenant], None, all));
        add(&format!("forged {tenant}"), Some(forged(key.prefix())), None);
        let restricted = Services::Only(vec![only(tenant).parse().expect("a name")]);
        let key = self::key(world, Some(*tenant), all, restricted, None).await;
        let name = format!("{tenant} for one service");
        add(&name, Some(key.reveal().to_owned()), opens(&[*tenant], Some(only(tenant)), all));
    }
    for scope in Scope::ALL {
        let only = Scopes::only(&[scope]);
        let key = key(world, Some(BIRCH), only, Services::All, None).await;
        let text = Some(key.reveal().to_owned());
        add(&format!("birch to {scope}"), text, opens(&[BIRCH], None, only));
    }
    for scopes in [[Scope::Read, Scope::Manage], [Scope::Read, Scope::Deploy]] {
        let only = Scopes::only(&scopes);
        let key = key(world, Some(ACORN), only, Services::All, None).await;
        let text = Some(key.reveal().to_owned());
        add(&format!("acorn to {only}"), text, opens(&[ACORN], None, only));
    }
    let operators = key(world, None, all, Services::All, None).await;
    add("operators", Some(operators.reveal().to_owned()), opens(&[ACORN, BIRCH], None, all));
    let past = Utc::now() - Duration::hours(1);
    let expired = key(world, Some(ACORN), all, Services::All, Some(past)).await;
    add("expired", Some(expired.reveal().to_owned()), None);
    let revoked = key(world, Some(ACORN), all, Services::All, None).await;
    keys::revoke(&world.store, None, revoked.prefix()).await.expect("revoked");
    add("revoked", Some(revoked.reveal().to_owned()), None);

    let claims = |groups: &[&str]| issuer.claims("ada", groups);
    let (viewer, admin) = (Scopes::only(Role::Viewer.scopes()), Scopes::only(Role::Admin.scopes()));
    for (name, groups, opens) in [
        ("a person of birch", vec!["birch-people"], opens(&[BIRCH], None, viewer)),
        ("a lead of birch", vec!["birch-leads"], opens(&[BIRCH], None, admin)),
        ("a person of nowhere", vec!["elsewhere"], opens(&[], None, Scopes::NONE)),
        ("a person without groups", vec![], opens(&[], None, Scopes::NONE)),
        ("an operator", vec![ADMINS], opens(&[ACORN, BIRCH], None, all)),
    ] {
        add(name, Some(signer.sign(&claims(&groups))), opens);
    }
    let leads = claims(&["acorn-leads"]);
    let with = |member: &str, value: Value| {
        let mut claims = leads.clone();
        claims[member] = value;
        signer.sign(&claims)
    };
    let now = Utc::now().timestamp();
    for (name, token) in [
        ("an expired token", with("exp", json!(now - 600))),
        ("a token of tomorrow", with("nbf", json!(now + 600))),
        ("a token for others", with("aud", json!("others"))),
        ("a token of others", with("iss", json!("https://login.example.com"))),
        ("a forged token", Signer::elliptic("one").sign(&leads)),
        ("a token that is signed otherwise", otherwise(issuer).sign(&leads)),
    ] {
        add(name, Some(token), None);
    }
    (found, prefixes)
}

/// A signer whose key the issuer publishes, and whose algorithm the server does not allow.
fn otherwise(issuer: &Issuer) -> Signer {
    let signer = Signer::rsa("otherwise");
    issuer.publish_also(&signer);
    assert_eq!(signer.algorithm, Algorithm::RS256, "the server allows ES256 alone");
    signer
}

async fn key(
    world: &World,
    tenant: Option<&str>,
    scopes: Scopes,
    services: Services,
    expires_at: Option<DateTime<Utc>>,
) -> ApiKey {
    let key = ApiKey::generate().expect("random numbers");
    let tenant: Option<TenantName> = tenant.map(|tenant| tenant.parse().expect("a name"));
    let new = NewKey {
        prefix: key.prefix().to_owned(),
        hash: key.hash(),
        name: "planted".to_owned(),
        created_by: "planted".to_owned(),
        tenant,
        scopes,
        services,
        expires_at,
    };
    keys::insert(&world.store, &new).await.expect("a key");
    key
}

/// A key that names another one and guesses its secret.
fn forged(prefix: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let text = format!("cameo_{prefix}_{}", "a".repeat(cameo_access::key::SECRET_BYTES));
    let mut rest = crc32fast::hash(text.as_bytes());
    let mut checksum = [b'0'; cameo_access::key::CHECKSUM_BYTES];
    for digit in checksum.iter_mut().rev() {
        *digit = DIGITS[(rest % 62) as usize];
        rest /= 62;
    }
    format!("{text}_{}", String::from_utf8_lossy(&checksum))
}
