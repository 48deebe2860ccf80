//! Signed receipts of erasures.

use axum::{Json, extract::State};
use cameo_domain::ErasureId;
use cameo_erasure::receipt::{self, Receipt, ReceiptError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::erasures::KeyOfCustomer;
use crate::{
    app::App,
    extract::{JsonBytes, PathParams},
    openapi::example,
    problem::{Code, Problem, ProblemBody},
};

/// A statement about an erasure with its signature: an envelope after DSSE, version 1.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErasureReceipt {
    /// What the payload is.
    #[schema(example = "application/vnd.cameo.erasure-receipt+json")]
    payload_type: String,
    /// The statement as JSON, in base64: what was removed where and when, and that a last search found nothing.
    #[schema(example = "eyJmb3JtYXQiOjEsInRlbmFudCI6Im1hcmtldGluZyJ9")]
    payload: String,
    /// Who signed it; one.
    signatures: Vec<ReceiptSignature>,
}

/// An Ed25519 signature of `DSSEv1`, the type and the payload, each with its length.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReceiptSignature {
    /// The platform's public key.
    #[schema(
        example = "cameo-ed25519:3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"
    )]
    keyid: String,
    /// 64 bytes in base64.
    #[schema(example = "3q2+7w==")]
    sig: String,
}

/// Of whom the receipt is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReceiptRequest {
    /// The customer's key, as a number or a text: the receipt names it if the erasure was about it.
    key: KeyOfCustomer,
}

/// Get the receipt of an erasure
///
/// A signed statement of what was removed where and when, which anybody checks who has the platform's public key. It
/// names the customer by fingerprints. The same each time.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/erasures/{erasure}/receipt", operation_id = "getErasureReceipt",
    tag = "erasures",
    params(
        ("tenant" = String, Path, description = "The team.", example = "marketing"),
        ("erasure" = i64, Path, description = "The erasure's number.", example = 12),
    ),
    responses(
        (status = 200, description = "The receipt", body = ErasureReceipt),
        (status = 409, description = "The erasure goes on (`erasure_goes_on`), or there is no key to sign with (`receipts_not_signed`)",
            body = ProblemBody, content_type = "application/problem+json", example = json!(example(Code::ErasureGoesOn)))))]
pub(crate) async fn get_receipt(
    State(app): State<App>,
    path: PathParams,
) -> Result<Json<ErasureReceipt>, Problem> {
    signed(&app, &path, None).await
}

/// Get a receipt that names the customer
///
/// The same statement with the customer's key in it, for a customer or an authority who cannot tell by a fingerprint
/// whom it is about. The key is kept nowhere: it has to be said, and is compared with the fingerprint.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/erasures/{erasure}/receipt", operation_id = "nameErasureReceipt",
    tag = "erasures",
    params(
        ("tenant" = String, Path, description = "The team.", example = "marketing"),
        ("erasure" = i64, Path, description = "The erasure's number.", example = 12),
    ),
    request_body(content = ReceiptRequest, example = json!({"key": 17})),
    responses(
        (status = 200, description = "The receipt", body = ErasureReceipt),
        (status = 409, description = "The erasure goes on (`erasure_goes_on`), or there is no key to sign with (`receipts_not_signed`)",
            body = ProblemBody, content_type = "application/problem+json", example = json!(example(Code::ErasureGoesOn)))))]
pub(crate) async fn name_receipt(
    State(app): State<App>,
    path: PathParams,
    body: JsonBytes,
) -> Result<Json<ErasureReceipt>, Problem> {
    let ReceiptRequest { key } = body.read()?;
    signed(&app, &path, Some(key.text())).await
}

async fn signed(
    app: &App,
    path: &PathParams,
    key: Option<String>,
) -> Result<Json<ErasureReceipt>, Problem> {
    let (tenant, erasure) = (path.tenant()?, ErasureId(path.number("erasure")?));
    let signer = app.config.receipt_key.as_ref().ok_or_else(|| {
        let detail = "receipts are not signed here: whoever operates the server has to start it with \
                      --receipt-key-file; GET the erasure itself for what was removed where";
        Problem::new(Code::ReceiptsNotSigned, detail)
    })?;
    let receipt = receipt::receipt(&app.store, signer, &tenant, erasure, key.as_deref()).await?;
    Ok(Json(receipt.ok_or_else(Problem::not_found)?.into()))
}

impl From<Receipt> for ErasureReceipt {
    fn from(receipt: Receipt) -> Self {
        let signatures = receipt
            .signatures
            .into_iter()
            .map(|signed| ReceiptSignature { keyid: signed.keyid.to_string(), sig: signed.sig });
        Self {
            payload_type: receipt.payload_type,
            payload: receipt.payload,
            signatures: signatures.collect(),
        }
    }
}

impl From<ReceiptError> for Problem {
    fn from(error: ReceiptError) -> Self {
        match error {
            ReceiptError::Store(error) => error.into(),
            ReceiptError::GoesOn(_) => Self::new(Code::ErasureGoesOn, error.to_string()),
            ReceiptError::AnotherKey(_) => Self::new(Code::InvalidRequest, error.to_string()),
            // Of receipts that are read, not of those that are made.
            ReceiptError::Unsound { .. } | ReceiptError::NotTrusted(_) => Self::internal(),
        }
    }
}
