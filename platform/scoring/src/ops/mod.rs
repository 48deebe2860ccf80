//! The operators that tract lacks or computes differently from ONNX Runtime.
//!
//! Each is checked against the operator's specification; where the specification is vague, against
//! what ONNX Runtime does, since that is what a data scientist compared the export with.

mod correct;
mod distances;
mod elementwise;
mod encoders;
mod error_function;
mod features;
mod floats;
mod gemm;
mod integer_einsum;
mod kernel;
mod labels;
mod linear;
mod pairs;
mod reduce;
mod svm;
mod text;
mod trees;

pub(crate) use correct::correct;

use tract_onnx::model::{Onnx, OnnxOpRegister};

/// tract's ONNX front end with the operators of this crate in place.
pub(crate) fn onnx() -> Onnx {
    let mut onnx = tract_onnx::onnx();
    let operators = &mut onnx.op_register;
    operators.insert("ArrayFeatureExtractor", features::array_feature_extractor);
    operators.insert("Binarizer", features::binarizer);
    operators.insert("CDist", distances::cdist);
    operators.insert("Celu", floats::celu);
    operators.insert("CategoryMapper", encoders::category_mapper);
    operators.insert("FeatureVectorizer", features::feature_vectorizer);
    operators.insert("Gemm", gemm::gemm);
    operators.insert("Imputer", features::imputer);
    operators.insert("IsInf", floats::is_infinite);
    operators.insert("IsNaN", floats::is_nan);
    operators.insert("LabelEncoder", encoders::label_encoder);
    operators.insert("LinearClassifier", linear::classifier);
    operators.insert("LinearRegressor", linear::regressor);
    operators.insert("LogSoftmax", reduce::log_softmax);
    operators.insert("Mish", floats::mish);
    operators.insert("Normalizer", features::normalizer);
    operators.insert("OneHotEncoder", encoders::one_hot_encoder);
    operators.insert("SVMClassifier", svm::classifier);
    operators.insert("SVMRegressor", svm::regressor);
    operators.insert("Scaler", features::scaler);
    operators.insert("TreeEnsemble", trees::ensemble);
    operators.insert("StringConcat", text::string_concat);
    operators.insert("StringNormalizer", text::string_normalizer);
    operators.insert("Swish", floats::swish);
    operators.insert("TfIdfVectorizer", text::tf_idf_vectorizer);
    operators.insert("TreeEnsembleClassifier", trees::ensemble);
    operators.insert("TreeEnsembleRegressor", trees::ensemble);
    // Reaches the runtime only as the identity that `graph::zip_map` makes of it.
    operators.insert("ZipMap", |_, _| {
        Err(tract_onnx::tract_hir::internal::format_err!(
            "ZipMap is resolved before the graph is parsed"
        ))
    });
    onnx
}

/// Every operator that can run.
pub(crate) fn register() -> OnnxOpRegister {
    onnx().op_register
}
