//! Whether a column of SQL or a port of a model fits what takes it.

use cameo_domain::DataType;

/// What a type is, whatever it is called: Arrow, `GoogleSQL` and ONNX name the same things apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    Float,
    /// A decimal without digits after the point.
    WholeDecimal,
    Decimal,
    String,
    Bool,
    Date,
    Timestamp,
    Other,
}

impl Kind {
    /// Reads a type's name, such as `Int64`, `FLOAT64`, `Decimal128(38, 0)` or `float32[N, 15]`.
    pub(crate) fn of(name: &str) -> Self {
        let name = name.trim().to_ascii_lowercase();
        let word: &str = name.split(['(', '[', '<', ' ']).next().unwrap_or_default();
        match word {
            "int" | "int8" | "int16" | "int32" | "int64" | "uint8" | "uint16" | "uint32"
            | "uint64" | "integer" | "bigint" | "smallint" | "tinyint" | "byteint" => Self::Int,
            "hugeint" => Self::WholeDecimal,
            "float" | "float16" | "float32" | "float64" | "double" | "real" => Self::Float,
            "decimal" | "decimal32" | "decimal64" | "decimal128" | "decimal256" | "numeric"
            | "bignumeric" => {
                let scale = name.rsplit(',').next().map(|s| s.trim_end_matches(')').trim());
                if scale == Some("0") { Self::WholeDecimal } else { Self::Decimal }
            }
            "string" | "utf8" | "largeutf8" | "utf8view" | "varchar" | "text" => Self::String,
            // A dictionary is as its values are; models and SQL only give texts.
            "dictionary" if name.contains("utf8") => Self::String,
            "bool" | "boolean" => Self::Bool,
            "date" | "date32" => Self::Date,
            "timestamp" | "timestamptz" => Self::Timestamp,
            _ => Self::Other,
        }
    }

    /// Whether a column of this kind becomes `declared` without loss of meaning.
    pub(crate) fn fits(self, declared: DataType) -> bool {
        match declared {
            DataType::Int => matches!(self, Self::Int | Self::WholeDecimal),
            DataType::Float64 => {
                matches!(self, Self::Int | Self::Float | Self::Decimal | Self::WholeDecimal)
            }
            DataType::String | DataType::Json => self == Self::String,
            DataType::Bool => self == Self::Bool,
            DataType::Date => self == Self::Date,
            DataType::Timestamp => self == Self::Timestamp,
        }
    }

    /// Whether rows can be grouped by a column of this kind.
    pub(crate) fn has_few_values(self) -> bool {
        matches!(self, Self::Int | Self::WholeDecimal | Self::String | Self::Bool | Self::Date)
    }

    /// Whether a model's input of this kind takes a feature of kind `feature`.
    pub(crate) fn takes(self, feature: Self) -> bool {
        match self {
            Self::Float => !matches!(feature, Self::String | Self::Timestamp | Self::Other),
            Self::Int => matches!(
                feature,
                Self::Bool | Self::Int | Self::WholeDecimal | Self::Date | Self::Timestamp
            ),
            Self::Bool => feature == Self::Bool,
            Self::String => feature == Self::String,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_type_is_known_under_each_of_its_names() {
        for name in ["Int64", "INT64", "int64[N]", "BIGINT", "Int32"] {
            assert_eq!(Kind::of(name), Kind::Int, "{name}");
        }
        assert_eq!(Kind::of("Decimal128(38, 0)"), Kind::WholeDecimal);
        assert_eq!(Kind::of("NUMERIC"), Kind::Decimal);
        assert_eq!(Kind::of("Timestamp(Microsecond, Some(\"UTC\"))"), Kind::Timestamp);
        assert_eq!(Kind::of("Dictionary(Int32, Utf8)"), Kind::String);
        assert_eq!(Kind::of("List(Int64)"), Kind::Other);
        assert!(!Kind::of("Float32").fits(DataType::Int));
        assert!(Kind::of("Float32").fits(DataType::Float64));
    }
}
