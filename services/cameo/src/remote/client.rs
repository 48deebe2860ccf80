//! The part of a server's API that a pipeline of git uses.

use anyhow::{Context, anyhow, bail};
use cameo_bundle::Diagnostic;
use cameo_domain::{GenerationId, ReleaseId, Scope, ServiceName, ServicePath, Stage, TenantName};
use cameo_registry::{
    AppliedBundle, ArchivedService, Breaking,
    plan::{ChangePlan, TenantChange},
};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::{Deserialize, de::DeserializeOwned};
use std::time::Duration;

/// How long a server may look at one bundle, a little longer than it allows itself.
const TIMEOUT: Duration = Duration::from_mins(16);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A server and the key for it.
pub(crate) struct Server {
    client: Client,
    url: Url,
    key: String,
}

/// The release of a service on the server.
#[derive(Debug, Deserialize)]
pub(crate) struct Standing {
    pub(crate) service: ServiceName,
    pub(crate) release: ReleaseId,
    pub(crate) stage: Stage,
    pub(crate) generation: Option<i64>,
}

impl Standing {
    pub(crate) fn generation(&self) -> Option<GenerationId> {
        self.generation.map(GenerationId)
    }
}

/// What became of a bundle.
#[derive(Debug, Deserialize)]
pub(crate) struct Applied {
    pub(crate) service: AppliedBundle,
    pub(crate) tenants: Vec<TenantChange>,
}

/// An answer, or why there is none that the person who wrote the bundle has to know.
pub(crate) enum Answer<T> {
    Done(T),
    Unsound(Vec<Diagnostic>),
    Breaks(Vec<Breaking>),
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: String,
    #[serde(default)]
    findings: serde_json::Value,
}

impl Server {
    /// A server that is asked with a key, which needs `scope` at least.
    pub(crate) fn new(url: &str, key: Option<&str>, scope: Scope) -> anyhow::Result<Self> {
        let url: Url = url.parse().with_context(|| {
            format!("expected a URL such as https://cameo.example, found {url}")
        })?;
        if url.cannot_be_a_base() || !matches!(url.scheme(), "http" | "https") {
            bail!("expected a URL such as https://cameo.example, found {url}");
        }
        let key = key.filter(|key| !key.is_empty()).with_context(|| {
            format!(
                "a server needs an API key: set CAMEO_API_KEY to one that `cameo keys create <tenant> \
                 --scope {scope}` made"
            )
        })?;
        let client = Client::builder().timeout(TIMEOUT).connect_timeout(CONNECT_TIMEOUT).build()?;
        Ok(Self { client, url, key: key.to_owned() })
    }

    /// What stands where, of one tenant.
    pub(crate) async fn standing(&self, tenant: &TenantName) -> anyhow::Result<Vec<Standing>> {
        #[derive(Deserialize)]
        struct List {
            services: Vec<Standing>,
        }
        let request = self.request(Method::GET, &format!("v1/tenants/{tenant}/releases"))?;
        match self.send::<List>(request).await? {
            Answer::Done(list) => Ok(list.services),
            _ => Err(anyhow!("the server gave an answer that does not fit the question")),
        }
    }

    /// What applying a package would change.
    pub(crate) async fn plan(
        &self,
        tenant: &TenantName,
        package: Vec<u8>,
        sample: u32,
    ) -> anyhow::Result<Answer<ChangePlan>> {
        let path = format!("v1/tenants/{tenant}/plans?sample={sample}");
        self.send(self.request(Method::POST, &path)?.body(package)).await
    }

    /// Applies a package.
    pub(crate) async fn apply(
        &self,
        tenant: &TenantName,
        package: Vec<u8>,
        accept_breaking: bool,
    ) -> anyhow::Result<Answer<Applied>> {
        let path = format!("v1/tenants/{tenant}/releases?accept_breaking={accept_breaking}");
        self.send(self.request(Method::POST, &path)?.body(package)).await
    }

    /// Takes a service out of use.
    pub(crate) async fn archive(&self, service: &ServicePath) -> anyhow::Result<ArchivedService> {
        #[derive(Deserialize)]
        struct Archived {
            releases: Vec<ReleaseId>,
        }
        let (tenant, name) = (&service.tenant, &service.service);
        let path = format!("v1/tenants/{tenant}/services/{name}");
        match self.send::<Archived>(self.request(Method::DELETE, &path)?).await? {
            Answer::Done(Archived { releases }) => {
                Ok(ArchivedService { path: service.clone(), releases })
            }
            _ => Err(anyhow!("the server gave an answer that does not fit the question")),
        }
    }

    /// A request to a path below the address of the server.
    pub(super) fn request(&self, method: Method, path: &str) -> anyhow::Result<RequestBuilder> {
        // A server may live below a path of its host.
        let base = format!("{}/", self.url.as_str().trim_end_matches('/'));
        let url = Url::parse(&base)?.join(path)?;
        Ok(self.client.request(method, url).bearer_auth(&self.key))
    }

    /// The head of an answer, whose body has not arrived yet.
    pub(super) async fn answer(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let answer = request.send().await;
        answer.with_context(|| format!("the server at {} could not be asked", self.url))
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> anyhow::Result<Answer<T>> {
        self.read(self.answer(request).await?).await
    }

    /// The answer of which the head is here, or why there is none.
    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        answer: Response,
    ) -> anyhow::Result<Answer<T>> {
        let status = answer.status();
        let body = answer.bytes().await.context("the server's answer broke off")?;
        if status.is_success() {
            let done = serde_json::from_slice(&body).context(
                "the server's answer is not understood; is it of another version than this command?",
            )?;
            return Ok(Answer::Done(done));
        }
        let Ok(problem) = serde_json::from_slice::<Problem>(&body) else {
            bail!("the server at {} answered {status}; is that Cameo's API?", self.url);
        };
        let findings = problem.findings;
        match problem.code.as_str() {
            "unsound_bundle" if findings.is_array() => {
                Ok(Answer::Unsound(serde_json::from_value(findings)?))
            }
            "breaks_consumers" if findings.is_array() => {
                Ok(Answer::Breaks(serde_json::from_value(findings)?))
            }
            _ if status == StatusCode::NOT_FOUND => {
                bail!("{} (the key may be of another tenant, or the tenant new)", problem.detail)
            }
            _ => bail!("{}", problem.detail),
        }
    }
}
