//! Asking, and judging the answers.

use std::collections::HashMap;

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use serde_json::{Value, json};

use super::{
    credentials::Credential,
    plant::{ACORN, BIRCH, BOTH, Planted, only},
};
use crate::{
    sweep::{Names, Operation, operations},
    world::Answer,
};

/// A tenant and a service that nobody has.
const NOBODY: &str = "nobody";
const NOTHING: &str = "nothing";
/// Headers that differ between any two answers.
const OWN_HEADERS: [&str; 4] = ["x-request-id", "date", "content-length", "ratelimit"];

/// Something that an answer should not have told.
pub(crate) struct Leak {
    pub(crate) told: String,
    /// Whether the question may have changed something.
    pub(crate) changes: bool,
}

/// Everything that is asked.
pub(crate) struct Matrix<'a> {
    planted: &'a Planted,
    operations: Vec<Operation>,
    /// Answers about what does not exist, by question and credential.
    nowhere: HashMap<String, Value>,
    leaks: Vec<Leak>,
    asked: usize,
    first_only: bool,
}

/// One question.
struct Question<'a> {
    operation: &'a Operation,
    credential: &'a Credential,
    names: Names,
    query: &'static str,
    body: Option<Sent>,
}

/// A body with its media type.
#[derive(Clone)]
struct Sent(&'static str, Vec<u8>);

impl<'a> Matrix<'a> {
    pub(crate) async fn of(planted: &'a Planted) -> Self {
        let document = planted.world.get("", "/openapi.json").await.json();
        Self {
            planted,
            operations: operations(&document),
            nowhere: HashMap::new(),
            leaks: Vec::new(),
            asked: 0,
            first_only: false,
        }
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked
    }

    pub(crate) async fn all_leaks(&mut self) -> Vec<String> {
        self.ask_everything().await;
        self.leaks.iter().map(|leak| leak.told.clone()).collect()
    }

    pub(crate) async fn first_leak(mut self) -> Option<Leak> {
        self.first_only = true;
        self.ask_everything().await;
        self.leaks.into_iter().next()
    }

    fn is_done(&self) -> bool {
        self.first_only && !self.leaks.is_empty()
    }

    /// First what changes nothing, then what would if it were let through, last what rightly does.
    async fn ask_everything(&mut self) {
        self.ask_for_more_than_one_has().await;
        let operations = self.operations.clone();
        let (safe, changing): (Vec<_>, Vec<_>) =
            operations.iter().partition(|operation| operation.is_safe());
        for (operations, rightful) in [(&safe, true), (&changing, false), (&changing, true)] {
            for operation in operations {
                for credential in &self.planted.credentials {
                    if self.is_done() {
                        return;
                    }
                    self.ask_for_everything(operation, credential, rightful).await;
                    if operation.is_safe() || !rightful {
                        self.ask_across(operation, credential).await;
                    }
                }
            }
        }
    }

    /// One operation by one credential, for everything that its path can name.
    async fn ask_for_everything(
        &mut self,
        operation: &Operation,
        credential: &Credential,
        rightful: bool,
    ) {
        let mut targets: Vec<_> = [ACORN, BIRCH]
            .into_iter()
            .flat_map(|tenant| [(tenant, BOTH.to_owned()), (tenant, only(tenant))])
            .collect();
        // Without parameters there is one thing to ask for; without a service, one for each tenant.
        if !operation.names("tenant") {
            targets.truncate(1);
        } else if !operation.names("service") {
            targets.retain(|(_, service)| service == BOTH);
        }
        for (tenant, service) in targets {
            let is_seen = match (operation.names("tenant"), operation.names("service")) {
                (true, true) => credential.sees(tenant, &service),
                (true, false) => credential.sees_tenant(tenant),
                (false, _) => credential.opens.is_some(),
            };
            let may = is_seen && credential.may(operation.scope);
            if !operation.is_safe() && may != rightful {
                continue;
            }
            for query in queries(operation) {
                for body in bodies(operation) {
                    let names = self.planted.names(tenant, &service);
                    let question = Question { operation, credential, names, query, body };
                    self.judge(&question, is_seen, may).await;
                }
            }
        }
    }

    async fn judge(&mut self, question: &Question<'_>, is_seen: bool, may: bool) {
        let answer = self.ask(question).await;
        self.find_canaries(question, &answer.body, &answer);
        let credential = question.credential;
        if credential.opens.is_none() {
            if answer.status != StatusCode::UNAUTHORIZED {
                self.leak(question, "was let in", &answer);
            }
            return;
        }
        if !is_seen {
            let mut names = question.names.clone();
            if credential.sees_tenant(&names.tenant) {
                NOTHING.clone_into(&mut names.service);
            } else {
                NOBODY.clone_into(&mut names.tenant);
            }
            let nowhere = Question { names, body: question.body.clone(), ..*question };
            let expected = self.about_nothing(&nowhere).await;
            if said(&answer, &[]) != expected {
                self.leak(question, &format!("could be told from {expected}"), &answer);
            }
        } else if !may && answer.status != StatusCode::FORBIDDEN {
            self.leak(question, "was done without its scope", &answer);
        }
    }

    /// One's own path with the number, prefix or name of something that is not one's own: it must answer
    /// as for something that does not exist.
    async fn ask_across(&mut self, operation: &Operation, credential: &Credential) {
        let Some(tenant) = credential.tenants().first().copied() else { return };
        if credential.tenants().len() > 1 || !operation.names("tenant") {
            return;
        }
        let other = if tenant == ACORN { BIRCH } else { ACORN };
        let service = credential.service().unwrap_or(BOTH);
        let own = self.planted.names(tenant, service);
        // Who is for one service has the others of its own tenant to ask for as well.
        let others = [(other, BOTH), (tenant, BOTH)];
        for (tenant, hidden) in others.into_iter().filter(|(of, at)| !credential.sees(of, at)) {
            let theirs = self.planted.names(tenant, hidden);
            let crossings = [
                ("run", Names { run: theirs.run, ..own.clone() }),
                ("release", Names { release: theirs.release, ..own.clone() }),
                ("prefix", Names { prefix: theirs.prefix, ..own.clone() }),
                ("segment", Names { segment: theirs.segment, ..own.clone() }),
                ("webhook", Names { webhook: theirs.webhook, ..own.clone() }),
                ("erasure", Names { erasure: theirs.erasure, ..own.clone() }),
            ];
            for (parameter, names) in crossings {
                if !operation.names(parameter) {
                    continue;
                }
                for body in bodies(operation) {
                    self.cross(operation, credential, &names, parameter, body.as_ref()).await;
                }
            }
        }
    }

    async fn cross(
        &mut self,
        operation: &Operation,
        credential: &Credential,
        names: &Names,
        parameter: &str,
        body: Option<&Sent>,
    ) {
        let mut nothing = names.clone();
        let (theirs, missing) = match parameter {
            "run" => (&names.run, replace(&mut nothing.run, "999999999")),
            "erasure" => (&names.erasure, replace(&mut nothing.erasure, "999999999")),
            "release" => (&names.release, replace(&mut nothing.release, "9.9.9-nothing")),
            "segment" => (&names.segment, replace(&mut nothing.segment, "nothing_at_all")),
            "webhook" => (&names.webhook, replace(&mut nothing.webhook, "nothing_at_all")),
            _ => (&names.prefix, replace(&mut nothing.prefix, "zzzzzzzz")),
        };
        let asked = |names: Names| Question {
            operation,
            credential,
            names,
            query: "",
            body: body.cloned(),
        };
        let question = asked(names.clone());
        let answer = self.ask(&question).await;
        // What the caller has said itself is no news to it.
        self.find_canaries(&question, &without(&answer.body, theirs), &answer);
        let expected = self.ask(&asked(nothing)).await;
        if said(&answer, &[theirs]) != said(&expected, &[&missing]) {
            self.leak(&question, &format!("could be told from {expected:?}"), &answer);
        }
    }

    /// Keys and bundles that would give more than their maker has.
    async fn ask_for_more_than_one_has(&mut self) {
        let find = |name: &str| {
            let found = self.planted.credentials.iter().find(|one| one.name == name);
            found.expect("a credential of this name")
        };
        let package = Sent("application/octet-stream", self.planted.package.clone());
        let all = json!({"name": "more", "scopes": ["all"]});
        let key = Sent("application/json", all.to_string().into_bytes());
        let everywhere = json!({"name": "wider", "scopes": ["read"], "services": [BOTH]});
        let wider = Sent("application/json", everywhere.to_string().into_bytes());
        let (birch, one) = (find("birch"), find("acorn for one service"));
        for (credential, id, tenant, sent, expected) in [
            (find("acorn to read, manage"), "createKey", ACORN, &key, "missing_scope"),
            (one, "createKey", ACORN, &key, "missing_scope"),
            (one, "createKey", ACORN, &wider, "missing_scope"),
            (birch, "planBundle", BIRCH, &package, "invalid_package"),
            (birch, "applyBundle", BIRCH, &package, "invalid_package"),
            (one, "planBundle", ACORN, &package, "not_found"),
            (one, "applyBundle", ACORN, &package, "not_found"),
            (find("acorn to read, deploy"), "applyBundle", ACORN, &package, "missing_scope"),
        ] {
            if self.is_done() {
                return;
            }
            let operation = self.operations.iter().find(|operation| operation.id == id);
            let operation = operation.expect("an operation of this name").clone();
            let names = self.planted.names(tenant, BOTH);
            let body = Some(sent.clone());
            let question = Question { operation: &operation, credential, names, query: "", body };
            let answer = self.ask(&question).await;
            if answer.status.is_success() || answer.code() != expected {
                self.leak(&question, &format!("expected {expected}"), &answer);
            }
        }
    }

    async fn about_nothing(&mut self, question: &Question<'_>) -> Value {
        let body = question.body.as_ref().map(|Sent(_, bytes)| bytes.len());
        let path = question.path();
        let (id, name) = (&question.operation.id, &question.credential.name);
        let key = format!("{id} {path} {name} {body:?}");
        if let Some(known) = self.nowhere.get(&key) {
            return known.clone();
        }
        let said = said(&self.ask(question).await, &[]);
        self.nowhere.insert(key, said.clone());
        said
    }

    async fn ask(&mut self, question: &Question<'_>) -> Answer {
        self.asked += 1;
        let mut request =
            Request::builder().method(question.operation.method.clone()).uri(question.path());
        if let Some(text) = &question.credential.text {
            request = request.header(header::AUTHORIZATION, format!("Bearer {text}"));
        }
        let body = match &question.body {
            Some(Sent(kind, bytes)) => {
                request = request.header(header::CONTENT_TYPE, *kind);
                Body::from(bytes.clone())
            }
            None => Body::empty(),
        };
        self.planted.world.send(request.body(body).expect("a request")).await
    }

    fn find_canaries(&mut self, question: &Question<'_>, body: &str, answer: &Answer) {
        for canary in self.planted.forbidden(question.credential) {
            let in_headers = || {
                answer.headers.values().any(|value| {
                    String::from_utf8_lossy(value.as_bytes()).contains(canary.as_str())
                })
            };
            if body.contains(&canary) || in_headers() {
                self.leak(question, &format!("told `{canary}`"), answer);
            }
        }
    }

    fn leak(&mut self, question: &Question<'_>, why: &str, answer: &Answer) {
        let (method, path) = (&question.operation.method, question.path());
        let told = format!("{}: {method} {path} {why}: {answer:?}", question.credential.name);
        self.leaks.push(Leak { told, changes: !question.operation.is_safe() });
    }
}

impl Question<'_> {
    fn path(&self) -> String {
        format!("{}{}", self.names.fill(&self.operation.template), self.query)
    }
}

fn replace(value: &mut String, with: &str) -> String {
    with.clone_into(value);
    with.to_owned()
}

/// Ways to ask that filter or go on from a place that is not one's own.
fn queries(operation: &Operation) -> &'static [&'static str] {
    match operation.id.as_str() {
        "listRuns" | "listTenantRuns" => &["", "?cursor=run-999999999", "?limit=200"],
        "listAudit" => {
            &["?limit=200", "?limit=200&service=mulberry", "?limit=200&before=999999999"]
        }
        "getProfile" | "batchGetProfiles" => {
            &["", "?tenant=acorn&missing=true", "?tenant=birch&missing=true", "?services=mulberry"]
        }
        "getHistory" => &["", "?at=2100-01-01T00:00:00Z"],
        _ => &[""],
    }
}

/// What is sent with a question; nothing and something that is not understood always.
fn bodies(operation: &Operation) -> Vec<Option<Sent>> {
    if operation.method == Method::GET {
        return vec![None];
    }
    let json = |value: Value| Some(Sent("application/json", value.to_string().into_bytes()));
    let mut bodies = vec![None, json(json!({}))];
    match operation.id.as_str() {
        "batchGetPredictions" => bodies.push(json(json!({"keys": [1, 2, 3]}))),
        "batchGetProfiles" => bodies.push(json(json!({"keys": [1, "2"]}))),
        "eraseCustomer" => bodies.push(json(json!({"key": 998, "services": [BOTH]}))),
        "nameErasureReceipt" => bodies.push(json(json!({"key": 999}))),
        "liftSuppressions" => bodies.push(json(json!({"key": 999, "reason": "back"}))),
        "acknowledgeChanges" => {
            bodies.push(json(json!({"consumer": "braze", "materialisation": 1})));
        }
        "createKey" => bodies.push(json(json!({"name": "another", "scopes": ["read"]}))),
        _ => {}
    }
    bodies
}

/// A text without a name that the caller has said itself. A number is not taken out: it may be part of another.
fn without(text: &str, name: &str) -> String {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.to_owned() } else { text.replace(name, "[given]") }
}

/// An answer without what is its own, and without what the caller has said itself.
fn said(answer: &Answer, given: &[&String]) -> Value {
    let mut body = answer.body.clone();
    for text in given {
        body = without(&body, text);
    }
    let body = match serde_json::from_str::<Value>(&body) {
        Ok(mut json) if json.is_object() => {
            for own in ["request_id", "instance"] {
                if json.get(own).is_some() {
                    json[own] = Value::Null;
                }
            }
            json
        }
        _ => Value::String(body),
    };
    let is_own = |name: &str| OWN_HEADERS.iter().any(|own| name.starts_with(own));
    let mut headers: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, _)| !is_own(name.as_str()))
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    headers.sort();
    json!({"status": answer.status.as_u16(), "headers": headers, "body": body})
}
