//! The identity provider whose tokens the API takes.

use cameo_access::{OidcConfig, TokenAlgorithm};
use clap::Args;

/// Whose tokens are let in beside API keys. An empty variable is how many set-ups say that there is none.
#[derive(Debug, Args)]
pub(crate) struct Oidc {
    /// Issuer of tokens that the API takes beside API keys, such as https://login.example.com/realm. Their
    /// groups may do what `ACCESS` in each tenant's tenant.yaml says.
    #[arg(long = "oidc-issuer", id = "oidc_issuer", env = "CAMEO_OIDC_ISSUER", value_name = "URL")]
    issuer: Option<String>,
    /// Audience that these tokens must carry.
    #[arg(
        long = "oidc-audience",
        id = "oidc_audience",
        env = "CAMEO_OIDC_AUDIENCE",
        value_name = "TEXT"
    )]
    audience: Option<String>,
    /// Claim that lists a person's groups: a name, or a path such as /realm_access/roles.
    #[arg(
        long = "oidc-groups-claim",
        id = "oidc_groups_claim",
        env = "CAMEO_OIDC_GROUPS_CLAIM",
        value_name = "CLAIM",
        default_value = "groups",
        hide = true
    )]
    groups_claim: String,
    /// Group that may do everything in every tenant.
    #[arg(
        long = "oidc-admin-group",
        id = "oidc_admin_group",
        env = "CAMEO_OIDC_ADMIN_GROUP",
        value_name = "GROUP",
        hide = true
    )]
    admin_group: Option<String>,
    /// How these tokens may be signed.
    #[arg(
        long = "oidc-algorithms",
        id = "oidc_algorithms",
        env = "CAMEO_OIDC_ALGORITHMS",
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "RS256,ES256",
        hide = true
    )]
    algorithms: Vec<TokenAlgorithm>,
}

impl Oidc {
    /// The identity provider, where one is named.
    pub(crate) fn config(&self) -> anyhow::Result<Option<OidcConfig>> {
        let said = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let Some(issuer) = said(&self.issuer) else {
            anyhow::ensure!(
                said(&self.audience).is_none() && said(&self.admin_group).is_none(),
                "expected --oidc-issuer beside the other options of the identity provider, found none"
            );
            return Ok(None);
        };
        let audience = said(&self.audience).unwrap_or_default();
        let config = OidcConfig::new(&issuer, &audience, &self.algorithms)?;
        Ok(Some(config.groups_claim(&self.groups_claim).admin_group(said(&self.admin_group))))
    }
}
