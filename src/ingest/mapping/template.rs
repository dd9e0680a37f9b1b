//! Templates of ids: text, and attributes with a width: `IMAGE#{image_id}#LINE#{line_id:05}`.

use super::attribute::Attribute;
use super::error::RecordError;
use super::number::integer;
use super::path::Path;
use super::view::View;

/// The largest width of a padded number.
const MAX_WIDTH: usize = 40;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Attribute {
        path: Path,
        /// The width to which zeros pad an integer.
        width: Option<usize>,
    },
}

impl Template {
    /// Reads a template. `{{` and `}}` stand for braces.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            plain.push_str(before);
            if let Some(after) = from.strip_prefix("{{").or_else(|| from.strip_prefix("}}")) {
                plain.push_str(&from[..1]);
                rest = after;
                continue;
            }
            let Some((inside, after)) = from.strip_prefix('{').and_then(|from| from.split_once('}')) else {
                return Err("a brace stands alone; write `{attribute}`, and `{{` or `}}` for a brace itself".into());
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(attribute(inside)?);
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        if !pieces.iter().any(|piece| matches!(piece, Piece::Attribute { .. })) {
            return Err("it names no attribute, so all items would be one record; write `{attribute}` in it".into());
        }
        Ok(Self(pieces))
    }

    /// The id of an item. An error if an attribute is missing, or its type has no text form.
    pub(super) fn render(&self, view: View<'_>) -> Result<String, RecordError> {
        let mut id = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => id.push_str(text),
                Piece::Attribute { path, width } => {
                    let name = || path.to_string();
                    let Some(found) = view.find(path, "makes the id")? else {
                        return Err(RecordError::of(&name(), "the item has none, and the id needs it"));
                    };
                    id.push_str(&text_of(found, *width).map_err(|reason| RecordError::of(&name(), reason))?);
                }
            }
        }
        Ok(id)
    }
}

/// Parses the text between braces.
fn attribute(inside: &str) -> Result<Piece, String> {
    let (name, format) = inside.split_once(':').map_or((inside, None), |(name, format)| (name, Some(format)));
    let path = Path::parse(name)?;
    let width = match format {
        None => None,
        Some(format) => {
            let digits = format.strip_prefix('0').and_then(|digits| digits.parse().ok());
            let width = digits.filter(|width| (1..=MAX_WIDTH).contains(width));
            Some(width.ok_or_else(|| {
                format!("`{{{inside}}}` has an unknown width; write `{{{name}:05}}` for an integer of 5 digits with zeros in front (1 to {MAX_WIDTH})")
            })?)
        }
    };
    Ok(Piece::Attribute { path, width })
}

fn text_of(attribute: &Attribute, width: Option<usize>) -> Result<String, String> {
    let (Attribute::String(text) | Attribute::Number(text)) = attribute else {
        return Err(format!("an id is made of strings and numbers, and this is {}", attribute.name()));
    };
    let Some(width) = width else { return Ok(text.clone()) };
    let number = integer(text).ok_or_else(|| {
        format!("`{}` is not an integer, so zeros cannot pad it; leave the width out", super::error::cut(text))
    })?;
    Ok(format!("{number:0width$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(json: &str) -> super::super::Item {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn text_attributes_and_widths() {
        let item = item(r#"{"i":{"S":"abc"},"n":{"N":"7"},"m":{"M":{"l":{"L":[{"N":"-3"}]}}},"s":{"S":"0012"}}"#);
        let id = |template: &str| Template::parse(template).unwrap().render(View::whole(&item)).unwrap();
        assert_eq!(id("IMAGE#{i}#LINE#{n:05}"), "IMAGE#abc#LINE#00007");
        assert_eq!(id("{n}{{{i}}}"), "7{abc}");
        assert_eq!(id("{m.l.0:04}/{s:02}"), "-003/12");
        assert_eq!(id("{s}"), "0012");
    }

    #[test]
    fn a_bad_template_names_its_fault() {
        for (template, words) in [
            ("plain", "no attribute"),
            ("", "no attribute"),
            ("{a", "brace"),
            ("a}", "brace"),
            ("{}", "name is empty"),
            ("{a..b}", "name is empty"),
            ("{a:5}", "`{a:05}`"),
            ("{a:0}", "`{a:05}`"),
            ("{a:099}", "1 to 40"),
            ("{a:x}", "width"),
        ] {
            let reason = Template::parse(template).unwrap_err();
            assert!(reason.contains(words), "{template}: {reason}");
        }
    }

    #[test]
    fn an_attribute_without_text_is_named() {
        let item = item(r#"{"b":{"BOOL":true},"f":{"N":"1.5"},"z":{"NULL":true}}"#);
        for (template, words) in [
            ("{a}", "attribute `a`: the item has none"),
            ("{z}", "the item has none"),
            ("{b}", "a boolean (BOOL)"),
            ("{f:03}", "`1.5` is not an integer"),
        ] {
            let reason = Template::parse(template).unwrap().render(View::whole(&item)).unwrap_err().to_string();
            assert!(reason.contains(words), "{template}: {reason}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_template_or_told(text in "[{}:.a0é#]{0,12}") {
            if let Ok(template) = Template::parse(&text) {
                let item = item(r#"{"a":{"N":"1"}}"#);
                drop(template.render(View::whole(&item)));
            }
        }
    }
}
