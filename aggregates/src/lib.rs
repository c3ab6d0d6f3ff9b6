//! The domain: aggregates by bounded context, pure.
//!
//! One file per aggregate, top to bottom: its state, its commands, its rejections, how it decides and evolves. What a
//! field may look like stands in its type ([`text`], [`scale`]), so a command that parses is well-formed and `decide`
//! is about business rules alone.

use annals_model::context::BoundedContext;

pub mod access;
pub mod limits;
pub mod portfolio;
pub mod scale;
#[cfg(feature = "testing")]
pub mod testing;
pub mod text;

macro_rules! contexts {
    ($($context:ident),+) => {
        /// Every bounded context of the domain, by number.
        pub fn contexts() -> Vec<BoundedContext> {
            vec![$($context::context()),+]
        }

        #[cfg(feature = "testing")]
        const RANDOM: &[(&str, testing::Random)] = &[$((stringify!($context), $context::RANDOM)),+];
    };
}

contexts!(access, portfolio);
