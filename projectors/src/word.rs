//! Enumerations of this crate as columns: stored by their word, read back from it.

/// Defines an enum whose variants are words in a text column.
macro_rules! word {
    (
        $(#[$doc:meta])*
        pub enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Every word, for parameters that name one of them.
            pub const WORDS: &'static [&'static str] = &[$($word,)+];

            /// The word, as tables and answers carry it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl ::annals_model::projection::Field for $name {
            const TYPE: ::annals_model::projection::ColumnType = ::annals_model::projection::ColumnType::Text;
            fn value(&self) -> ::annals_model::projection::Value<'_> {
                ::annals_model::projection::Value::Text(self.as_str())
            }
            fn from_value(
                value: ::annals_model::projection::Value<'_>,
            ) -> Result<Self, ::annals_model::projection::RowError> {
                match value {
                    $(::annals_model::projection::Value::Text($word) => Ok(Self::$variant),)+
                    ::annals_model::projection::Value::Text(_) => {
                        Err(::annals_model::projection::RowError::invalid(stringify!($name)))
                    }
                    other => Err(::annals_model::projection::RowError::mismatch(Self::TYPE, other)),
                }
            }
        }
    };
}

pub(crate) use word;
