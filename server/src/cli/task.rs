//! `coldkeep task`, and waiting for tasks that other verbs start.

use std::collections::VecDeque;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use coldkeep_client::{Client, TaskItem, TaskLine, TaskStatus};

use super::human;
use super::shell::Shell;
use super::table::{Align, Table, printable};
use super::target::{Missing, Target};

/// Lines of a failed task's log that are shown to whoever did not watch it.
const LAST_LINES: usize = 20;

/// The arguments of `coldkeep task`.
#[derive(Debug, Args)]
pub(crate) struct Task {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists tasks, running ones first, then the newest.
    List {
        /// Only those that run.
        #[arg(long)]
        running: bool,
        /// How many to list.
        #[arg(long, value_name = "COUNT", default_value_t = 50)]
        limit: u64,
        #[command(flatten)]
        target: Target,
    },
    /// Prints the log of a task; waits for its end with --follow.
    Log {
        /// The task's id, as `task list` shows it.
        #[arg(value_name = "TASK")]
        upid: String,
        /// Print lines as they come, and fail if the task fails.
        #[arg(long)]
        follow: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Asks a task to stop.
    Stop {
        /// The task's id, as `task list` shows it.
        #[arg(value_name = "TASK")]
        upid: String,
        #[command(flatten)]
        target: Target,
    },
}

impl Task {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        match self.verb {
            Verb::List { running, limit, target } => {
                let work =
                    async |store: coldkeep_client::Store| Ok(store.client().tasks(running, limit).await?);
                let tasks: Vec<TaskItem> = target.run(shell, Missing::Refuse, work).await?;
                shell.show(&tasks, |tasks| table(tasks))
            }
            Verb::Log { upid, follow: true, target } => {
                let work = async |store: coldkeep_client::Store| {
                    store.client().wait_task(&upid, Shell::note).await.with_context(|| format!("task {upid}"))
                };
                let status = target.run(shell, Missing::Refuse, work).await?;
                shell.show(&status, |status| status.exitstatus.clone().unwrap_or_default())
            }
            Verb::Log { upid, follow: false, target } => {
                let work = async |store: coldkeep_client::Store| all_lines(store.client(), &upid).await;
                let lines = target.run(shell, Missing::Refuse, work).await?;
                let texts: Vec<String> = lines.into_iter().map(|line| line.t).collect();
                shell.show(&texts, |texts| texts.iter().map(|text| printable(text) + "\n").collect())
            }
            Verb::Stop { upid, target } => {
                let work = async |store: coldkeep_client::Store| Ok(store.client().stop_task(&upid).await?);
                target.run(shell, Missing::Refuse, work).await?;
                shell.show(&serde_json::json!({ "upid": upid }), |_| format!("{upid} was asked to stop"))
            }
        }
    }
}

async fn all_lines(client: &Client, upid: &str) -> Result<Vec<TaskLine>> {
    let mut lines: Vec<TaskLine> = Vec::new();
    loop {
        let part = client.task_log(upid, lines.len() as u64 + 1).await?;
        let is_last = part.lines.is_empty();
        lines.extend(part.lines);
        if is_last || lines.len() as u64 >= part.total {
            return Ok(lines);
        }
    }
}

/// Waits for a task. A person sees its log as it grows; others see the end of it if the task fails.
pub(crate) async fn follow(client: &Client, upid: &str) -> Result<TaskStatus> {
    let is_watched = Shell::is_watched();
    if is_watched {
        Shell::note(&format!("task {upid}"));
    }
    let mut last = VecDeque::new();
    let result = client
        .wait_task(upid, |line| {
            let line = printable(line);
            if is_watched {
                Shell::note(&line);
                return;
            }
            if last.len() == LAST_LINES {
                last.pop_front();
            }
            last.push_back(line);
        })
        .await;
    if result.is_err() {
        for line in &last {
            Shell::note(line);
        }
    }
    Ok(result?)
}

fn table(tasks: &[TaskItem]) -> String {
    let mut table = Table::new([
        ("started", Align::Left),
        ("type", Align::Left),
        ("on", Align::Left),
        ("user", Align::Left),
        ("result", Align::Left),
        ("task", Align::Left),
    ]);
    for task in tasks {
        table.push([
            human::time(task.starttime),
            task.worker_type.clone(),
            task.worker_id.clone().unwrap_or_default(),
            task.user.clone(),
            task.status.clone().unwrap_or_else(|| "running".to_owned()),
            task.upid.clone(),
        ]);
    }
    table.render("no tasks")
}
