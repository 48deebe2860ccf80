//! An explainer, wherever it works.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Schema},
};
use cameo_scoring::{
    NullDefaults,
    explain::{self, ExplainOptions, Explained, Method, Unit},
};

use crate::{
    Fault, Files, Host,
    host::unasked,
    message::{Answer, Request, from_words},
    object::{Object, encoded, encoded_schema, only},
    scorer::{load_options, next_object},
};

/// A [`cameo_scoring::explain::Explainer`] in a host.
#[derive(Debug)]
pub struct Explainer {
    at: At,
    about: Explanation,
}

#[derive(Debug)]
enum At {
    Here(Box<explain::Explainer>),
    Apart(Object),
}

/// What holds of all that an explainer explains.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The method that was chosen, never [`Method::Auto`].
    pub method: Method,
    /// The method and what it rests on, in words.
    pub description: String,
    /// What contributions and base value are measured in.
    pub unit: Unit,
    /// The output column that is explained.
    pub output: String,
    /// The explained output of the background, to which contributions are added.
    pub base_value: f64,
    /// Feature columns that the model reads, in the order of the contributions.
    pub columns: Vec<String>,
}

impl Explanation {
    pub(crate) fn of(explainer: &explain::Explainer) -> Self {
        Self {
            method: explainer.method(),
            description: explainer.describe(),
            unit: explainer.unit(),
            output: explainer.output().to_owned(),
            base_value: explainer.base_value(),
            columns: explainer.columns(),
        }
    }
}

impl Explainer {
    /// As [`cameo_scoring::explain::Explainer::load_with`], under the default limits.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn load(
        host: &Host,
        files: Files<'_>,
        features: &Schema,
        background: &RecordBatch,
        options: &ExplainOptions,
        null_defaults: &NullDefaults,
    ) -> Result<Self, Fault> {
        let Files { model, preprocess } = files;
        let Some(process) = &host.process else {
            let load = load_options(null_defaults);
            let explainer = explain::Explainer::load_with(
                model, preprocess, features, background, options, &load,
            )
            .map_err(|error| Fault::of_model(&error))?;
            let about = Explanation::of(&explainer);
            return Ok(Self { at: At::Here(Box::new(explainer)), about });
        };
        let number = next_object();
        let request = Request::LoadExplainer {
            object: number,
            null_defaults: null_defaults.clone(),
            options: options.clone(),
        };
        let (features, background) = (encoded_schema(features)?, encoded(background)?);
        let mut parts: Vec<&[u8]> = vec![&features, &background, model];
        parts.extend(preprocess);
        match process.ask(&request, &parts)? {
            (Answer::Explainer { method, description, unit, output, base_value, columns }, _) => {
                let base_value = f64::from_bits(base_value);
                let about = Explanation { method, description, unit, output, base_value, columns };
                let object = Object { process: Arc::clone(process), number };
                Ok(Self { at: At::Apart(object), about })
            }
            (other, _) => Err(unasked(process, &other)),
        }
    }

    /// What holds of all that it explains.
    #[must_use]
    pub fn about(&self) -> &Explanation {
        &self.about
    }

    /// Explains every row of a batch, as [`cameo_scoring::explain::Explainer::explain`].
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn explain(&self, features: &RecordBatch) -> Result<Explained, Fault> {
        let object = match &self.at {
            At::Here(explainer) => {
                return explainer.explain(features).map_err(|error| Fault::of_model(&error));
            }
            At::Apart(object) => object,
        };
        let columns = &self.about.columns;
        let announced = columns.iter().map(|name| Field::new(name, DataType::Float32, false));
        let announced = Schema::new(announced.collect::<Vec<_>>());
        let request = Request::Explain { explainer: object.number };
        let (answer, contributions, rest) =
            object.ask(&request, &only(features, columns)?, &announced)?;
        let Answer::Explained { rejected } = answer else { return Err(object.unasked(&answer)) };
        object.check(&rejected, features.num_rows())?;
        let error = match rest.first() {
            None => None,
            Some(bytes) => {
                Some(from_words(bytes, f32::from_le_bytes).map_err(|error| object.unsound(error))?)
            }
        };
        let rows = contributions.num_rows();
        if rows + rejected.len() != features.num_rows()
            || error.as_ref().is_some_and(|error| error.len() != rows)
        {
            return Err(object.unsound("it explained another number of rows than it took"));
        }
        Ok(Explained { contributions, error, rejected })
    }
}
