//! What the program prints on terminals of several widths, and which files it leaves alone.

mod common;

use std::fs;

use common::{data, heavytail};

/// What the program prints on a terminal of that many columns.
#[cfg(target_os = "linux")]
fn on_terminal(columns: usize, arguments: &str) -> String {
    let command = format!("stty cols {columns} rows 50; {} {arguments}", env!("CARGO_BIN_EXE_heavytail"));
    let mut script = std::process::Command::new("script");
    let result = script.args(["-qec", &command, "/dev/null"]).stdin(std::process::Stdio::null()).output().unwrap();
    String::from_utf8(result.stdout).unwrap().replace('\r', "")
}

#[cfg(target_os = "linux")]
fn widest(text: &str) -> usize {
    text.lines().map(|line| line.trim_end().chars().count()).max().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn tables_fit_the_terminal_and_pipes_get_all() {
    let arguments = "analyze --quiet --quantizations 4bit";
    let piped = String::from_utf8(heavytail(arguments.split(' ')).stdout).unwrap();
    let wide = on_terminal(200, arguments);
    for heading in ["Std", "Spearman", "Below 2", "Above 6", "Failed fits"] {
        assert!(piped.contains(heading) && wide.contains(heading), "{heading}");
    }
    assert!(widest(&piped) > 120);
    // One rule a table.
    assert_eq!(piped.lines().filter(|line| line.starts_with('─')).count(), 2);
    let words = |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
    let whole = words(&piped);
    for columns in [72, 80, 100, 120, 140] {
        let narrow = on_terminal(columns, arguments);
        let (tables, _) = narrow.split_once(" layers analysed").unwrap();
        let tables: Vec<&str> =
            tables.lines().filter(|line| !line.starts_with("By the") && !line.starts_with("Means")).collect();
        assert!(widest(&tables.join("\n")) <= columns, "{columns}: {narrow}");
        // No number and no word is broken, and every level is a line.
        for word in tables.iter().flat_map(|line| words(line)).filter(|word| !word.starts_with('─')) {
            assert!(whole.contains(&word), "{columns}: {word}\n{narrow}");
        }
        for level in [" as stored (F16) ", " fp16 ", " 4bit "] {
            assert!(tables.iter().any(|line| line.starts_with(level)), "{columns}: {level}\n{narrow}");
        }
        // In the order of their weight.
        let has = |heading: &str| tables[..3].iter().any(|line| line.contains(heading));
        assert!(has("SQNR") && has("Failed") && has("Alpha"), "{columns}: {narrow}");
        assert_eq!((has("Non-zero"), has("Pearson")), (columns >= 120, columns >= 80), "{columns}: {narrow}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn schemes_are_told_in_readable_lines() {
    for columns in [80, 90, 100, 105, 110, 115, 120, 160] {
        let text = on_terminal(columns, "schemes --common");
        assert!(widest(&text) <= columns, "{text}");
        let heading = text.lines().next().unwrap();
        let what = heading.find("What").unwrap();
        // What a scheme is has about a third of the line: at 120 columns it had a seventh.
        assert!(columns - what >= columns * 3 / 10, "{columns}: {heading}");
        // Names stay whole.
        assert!(text.lines().any(|line| line.starts_with(" gptq4-g128-rtn ")), "{text}");
    }
}

/// Scores in the folder of the results, under the name of one of them.
#[test]
fn results_do_not_replace_the_scores() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str| {
        let scores = folder.path().join(name);
        fs::write(&scores, "level,metric,value\nfp16,perplexity,10\n4bit,perplexity,11\n2bit,perplexity,90\n").unwrap();
        let output = folder.path().display().to_string();
        let arguments = ["analyze", "--quiet", "--quantizations", "4bit,2bit", "--output-dir", &output, "--scores"];
        let result = heavytail(arguments.into_iter().chain([scores.to_str().unwrap()]));
        (result.status.code(), String::from_utf8(result.stderr).unwrap(), fs::read_to_string(&scores).unwrap())
    };
    for name in ["details.csv", "score_correlations.csv", "results_4bit.csv"] {
        let (status, message, kept) = run(name);
        assert_eq!(status, Some(2), "{message}");
        assert!(message.contains("the results would replace the scores"), "{message}");
        assert!(kept.starts_with("level,metric,value"), "{name}");
    }
    let (status, message, kept) = run("scores.csv");
    assert_eq!(status, Some(0), "{message}");
    assert!(kept.starts_with("level,metric,value") && folder.path().join("score_correlations.csv").is_file());
}

/// The same through a link, whichever of the two it is.
#[test]
#[cfg(unix)]
fn nor_through_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let (results, scores) = (folder.path().join("results"), folder.path().join("scores.csv"));
    fs::create_dir(&results).unwrap();
    let table = "level,metric,value\nfp16,perplexity,10\n4bit,perplexity,11\n";
    let output = results.display().to_string();
    for (file, link) in
        [(&scores, results.join("details.csv")), (&results.join("report.json"), folder.path().join("link.csv"))]
    {
        fs::write(file, table).unwrap();
        std::os::unix::fs::symlink(file, &link).unwrap();
        let given = if link.starts_with(&results) { file } else { &link };
        let arguments = ["analyze", "--quiet", "--quantizations", "4bit", "--output-dir", &output, "--scores"];
        let result = heavytail(arguments.into_iter().chain([given.to_str().unwrap()]));
        assert_eq!(result.status.code(), Some(2), "{}", String::from_utf8_lossy(&result.stderr));
        assert_eq!(fs::read_to_string(file).unwrap(), table);
        fs::remove_file(&link).unwrap();
    }
}

#[test]
fn a_model_of_too_many_files_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let shard = folder.path().join("model-00001-of-01001.safetensors");
    fs::copy(data("weightwatcher/combinations/model.safetensors"), &shard).unwrap();
    let result = heavytail(["describe", shard.to_str().unwrap()]);
    let message = String::from_utf8(result.stderr).unwrap();
    assert_ne!(result.status.code(), Some(0));
    assert!(message.contains("is of a model of 1001 files, more than the 1000 that can be opened"), "{message}");
}
