//! Setters of option structs.

/// Gives each field named a setter of its own name: `Options::default().field(value)`.
///
/// `field: into Option<T>` makes a setter that takes a `T` or an `Option<T>`.
macro_rules! setters {
    ($Options:ty { $($rest:tt)* }) => {
        impl $Options {
            setters!(@each $($rest)*,);
        }
    };
    (@each $(,)?) => {};
    (@each $field:ident: into $type:ty, $($rest:tt)*) => {
        setters!(@one $field, impl Into<$type>, $field.into());
        setters!(@each $($rest)*);
    };
    (@each $field:ident: $type:ty, $($rest:tt)*) => {
        setters!(@one $field, $type, $field);
        setters!(@each $($rest)*);
    };
    (@one $field:ident, $type:ty, $value:expr) => {
        #[doc = concat!("The same with this [`", stringify!($field), "`](#structfield.", stringify!($field), ").")]
        #[must_use]
        pub fn $field(mut self, $field: $type) -> Self {
            self.$field = $value;
            self
        }
    };
}

pub(crate) use setters;
