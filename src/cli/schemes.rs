//! `heavytail schemes`: the table of schemes.

use std::process::ExitCode;

use super::arguments::{PlainFormatArg, Schemes};
use super::describe::narrowed;
use super::{Failure, print};
use crate::quant::{SchemeInfo, schemes};

pub(super) fn run(arguments: &Schemes) -> Result<ExitCode, Failure> {
    let rows: Vec<&SchemeInfo> = schemes().iter().filter(|row| row.common || !arguments.common).collect();
    let text = match arguments.format {
        PlainFormatArg::Json => serde_json::to_string_pretty(&rows).unwrap_or_default() + "\n",
        PlainFormatArg::Table => {
            let cells = |row: &&SchemeInfo| {
                let label = row.label.map_or_else(String::new, |label| format!(" ({label})"));
                vec![
                    row.name.clone(),
                    row.family.to_owned(),
                    row.bits_per_weight.clone(),
                    row.block.clone(),
                    row.needs.clone(),
                    row.description.clone() + &label,
                ]
            };
            let headings = ["Name", "Family", "Bits per weight", "Block", "Needs", "What"];
            let rows: Vec<_> = rows.iter().map(cells).collect();
            // The last is the longest by far: without a share of its own it would get what the others leave.
            format!("{}\n", narrowed(&headings, &rows, &["Family", "Block"], 35))
        }
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
