//! `heavytail schemes`: the table of schemes.

use std::process::ExitCode;

use super::arguments::{PlainFormatArg, Schemes};
use super::describe::table;
use super::{Failure, print};
use crate::quant::{SchemeInfo, schemes};

pub(super) fn run(arguments: &Schemes) -> Result<ExitCode, Failure> {
    let rows: Vec<&SchemeInfo> = schemes().iter().filter(|row| row.common || !arguments.common).collect();
    let text = match arguments.format {
        PlainFormatArg::Json => serde_json::to_string_pretty(&rows).unwrap_or_default() + "\n",
        PlainFormatArg::Table => {
            let mut view = table(&["Name", "Family", "Bits per weight", "Block", "Needs", "What"]);
            for row in rows {
                let label = row.label.map_or_else(String::new, |label| format!(" ({label})"));
                view.add_row([
                    row.name.clone(),
                    row.family.to_owned(),
                    row.bits_per_weight.clone(),
                    row.block.clone(),
                    row.needs.clone(),
                    row.description.clone() + &label,
                ]);
            }
            format!("{view}\n")
        }
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
