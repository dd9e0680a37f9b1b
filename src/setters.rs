//! Setters of option structs.

/// Gives each field named a setter of its own name: `Options::default().field(value)`.
///
/// `field: into Option<T>` makes a setter that takes a `T` or an `Option<T>`. Fields that the
/// constructor takes stand behind `new:`. A field that is named nowhere does not compile.
macro_rules! setters {
    ($Options:ident { $($rest:tt)* } $(new: $($given:ident),+)?) => {
        impl $Options {
            setters!(@each $($rest)*,);
        }
        setters!(@all $Options [$($($given)+)?] $($rest)*,);
    };
    // The pattern has no `..`, so it names every field.
    (@all $Options:ident [$($field:ident)*] $(,)?) => {
        const _: fn($Options) = |$Options { $($field: _),* }| ();
    };
    (@all $Options:ident [$($field:ident)*] $next:ident: into $type:ty, $($rest:tt)*) => {
        setters!(@all $Options [$($field)* $next] $($rest)*);
    };
    (@all $Options:ident [$($field:ident)*] $next:ident: $type:ty, $($rest:tt)*) => {
        setters!(@all $Options [$($field)* $next] $($rest)*);
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

#[cfg(test)]
#[expect(unreachable_pub, reason = "the macro makes public setters")]
mod tests {
    #[derive(Debug, Clone, PartialEq)]
    struct Options {
        given: u8,
        first: u8,
        second: u8,
        third: Option<String>,
    }

    setters!(Options { first: u8, second: u8, third: into Option<String> } new: given);

    /// The macro makes every setter of the crate, so this holds for all of them.
    #[test]
    fn a_setter_sets_its_own_field_alone() {
        let before = Options { given: 1, first: 2, second: 3, third: None };
        assert_eq!(before.clone().first(9), Options { first: 9, ..before.clone() });
        assert_eq!(before.clone().second(9), Options { second: 9, ..before.clone() });
        let set = before.clone().third("text".to_owned());
        assert_eq!(set, Options { third: Some("text".to_owned()), ..before.clone() });
        assert_eq!(set.clone().third(Some("other".to_owned())).third.as_deref(), Some("other"));
        assert_eq!(set.third(None::<String>), before);
    }
}
