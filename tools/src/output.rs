//! Standard output and the last words on standard error: the only place that writes them.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use serde_json::json;

use crate::failure::{Exit, Failure};

/// Where answers go and in which form.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
}

/// A column of a table: its name, and what it shows of each item.
pub struct Column<T> {
    name: &'static str,
    alignment: CellAlignment,
    cell: fn(&T) -> String,
}

impl<T> Column<T> {
    /// A column of words, which lean left.
    pub const fn text(name: &'static str, cell: fn(&T) -> String) -> Self {
        Self { name, alignment: CellAlignment::Left, cell }
    }

    /// A column of numbers, which lean right.
    pub const fn number(name: &'static str, cell: fn(&T) -> String) -> Self {
        Self { name, alignment: CellAlignment::Right, cell }
    }
}

impl Output {
    /// An output in JSON, or for people.
    pub const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether answers are in JSON.
    pub const fn is_json(self) -> bool {
        self.json
    }

    /// Whether standard output is read by a person.
    pub fn is_terminal(self) -> bool {
        io::stdout().is_terminal()
    }

    /// One line or several, for people or as they are.
    pub fn text(self, text: impl Display) -> Result<(), Failure> {
        written(writeln!(io::stdout().lock(), "{text}"))
    }

    /// A value as one JSON document, indented.
    pub fn json(self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(unwritable)?;
        self.text(text)
    }

    /// A value as one JSON document on one line, for answers without an end.
    pub fn json_line(self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(unwritable)?;
        self.text(text)
    }

    /// The value in JSON, or what `people` makes of it.
    pub fn answer<T: Serialize, D: Display>(
        self,
        value: &T,
        people: impl FnOnce(&T) -> D,
    ) -> Result<(), Failure> {
        if self.json { self.json(value) } else { self.text(people(value)) }
    }

    /// Bytes as they are.
    pub fn bytes(self, bytes: &[u8]) -> Result<(), Failure> {
        written(io::stdout().lock().write_all(bytes))
    }

    /// Standard output itself, for answers that are streams of bytes.
    pub fn stdout(self) -> io::StdoutLock<'static> {
        io::stdout().lock()
    }

    /// Makes sure that everything has left.
    pub fn flush(self) -> Result<(), Failure> {
        written(io::stdout().lock().flush())
    }

    /// A remark for people on standard error.
    pub fn note(self, text: impl Display) {
        // Nothing is left to tell it to when standard error is gone.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// The last words of a command that failed, on standard error.
    pub fn failure(self, failure: &Failure) {
        if failure.exit == Exit::OutputClosed {
            return;
        }
        if self.json {
            let Failure { exit, code, message, hint } = failure;
            self.note(json!({
                "exit_code": *exit as u8,
                "error": code,
                "message": message,
                "hint": hint,
            }));
            return;
        }
        self.note(format_args!("error: {}", failure.message));
        if let Some(hint) = &failure.hint {
            self.note(format_args!("  → {hint}"));
        }
    }
}

fn written(result: io::Result<()>) -> Result<(), Failure> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::new(Exit::OutputClosed, "standard output is closed"),
        _ => Failure::failed(format!("cannot write to standard output: {error}")),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "the form that `map_err` takes")]
fn unwritable(error: serde_json::Error) -> Failure {
    Failure::failed(format!("cannot write the answer as JSON: {error}"))
}

/// A table with a header and a row for each item, for people.
pub fn table<'a, T: 'a, const N: usize>(
    items: impl IntoIterator<Item = &'a T>,
    columns: &[Column<T>; N],
) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(columns.iter().map(|column| column.name));
    table.add_rows(items.into_iter().map(|item| columns.each_ref().map(|c| (c.cell)(item))));
    for (drawn, column) in table.column_iter_mut().zip(columns) {
        drawn.set_cell_alignment(column.alignment);
    }
    drawn(table)
}

/// A table of names and values, for people.
pub fn facts(facts: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.add_rows(facts.into_iter().map(|(name, value)| [name.to_owned(), value]));
    drawn(table)
}

fn drawn(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// A text from elsewhere as one line that does nothing to a terminal.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_play_with_the_terminal() {
        assert_eq!(one_line("kätzchen/東京.jpg"), "kätzchen/東京.jpg");
        assert_eq!(one_line("a\nb\u{1b}[31m\u{9b}"), "a\\nb\\u{1b}[31m\\u{9b}");
    }

    #[test]
    fn numbers_lean_right() {
        let text = table(
            &[["1", "5 B"], ["2", "1.2 GiB"]],
            &[
                Column::text("VOLUME", |row| row[0].to_owned()),
                Column::number("SIZE", |row| row[1].to_owned()),
            ],
        );
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines, ["VOLUME     SIZE", "1           5 B", "2       1.2 GiB"]);
    }
}
