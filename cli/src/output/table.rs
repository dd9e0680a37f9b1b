//! Aligned tables.

use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement};

use super::{Output, escape};

/// A table without rules: a header, and columns aligned to suit their contents.
pub(crate) struct Table(comfy_table::Table);

impl Table {
    /// A table with these columns. A name that begins with `>` marks a column of numbers, aligned
    /// to the right.
    pub(crate) fn new(output: Output, columns: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if !output.colored() {
            table.force_no_tty();
        }
        let header = columns.iter().map(|name| Cell::new(name.trim_start_matches('>')).add_attribute(Attribute::Bold));
        table.set_header(header);
        for (index, name) in columns.iter().enumerate() {
            if let Some(column) = table.column_mut(index) {
                column.set_padding((0, 2));
                if name.starts_with('>') {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
        }
        Self(table)
    }

    /// Adds a row. Escapes characters that a terminal acts on.
    pub(crate) fn row<T: std::fmt::Display>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.0.add_row(cells.into_iter().map(|cell| escape::shown(&cell.to_string()).into_owned()));
    }

    /// Its lines, with styles in the header. It has no `Display`, because [`Output::line`] would
    /// escape the styles.
    pub(crate) fn text(&self) -> String {
        let text = self.0.to_string();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        lines.join("\n")
    }
}
