//! Enumerations as columns: stored by their word, read back from it.

/// Defines an enum whose variants are words in a text column.
#[macro_export]
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

        impl $crate::projection::Field for $name {
            const TYPE: $crate::projection::ColumnType = $crate::projection::ColumnType::Text;
            fn value(&self) -> $crate::projection::Value<'_> {
                $crate::projection::Value::Text(self.as_str())
            }
            fn from_value(
                value: $crate::projection::Value<'_>,
            ) -> Result<Self, $crate::projection::RowError> {
                match value {
                    $($crate::projection::Value::Text($word) => Ok(Self::$variant),)+
                    $crate::projection::Value::Text(_) => {
                        Err($crate::projection::RowError::invalid(stringify!($name)))
                    }
                    other => Err($crate::projection::RowError::mismatch(Self::TYPE, other)),
                }
            }
            fn absent() -> Self {
                [$(Self::$variant),+][0]
            }
        }
    };
}
