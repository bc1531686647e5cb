//! `errand migrate`: brings each service's database to this version's schema.
//!
//! On a data folder `serve` does the same when it starts. On PostgreSQL nobody else does it: the role
//! that owns the schemas is not one that serves. Safe beside running servers, beside another run, and
//! after a crash in the middle.

use errand_storage::{Error, Migration, Place, Schema, migrate, migrate::Step, postgres};

use super::remote::block_on;
use crate::{
    cli::{Failure, Kind, Migrate},
    config::Config,
    console,
    data::Folder,
    ground::{self, failed},
    roles::Role,
};

/// Runs `errand migrate {up,status,plan}`.
pub(crate) fn run(config: &Config, action: Migrate) -> Result<(), Failure> {
    let services = services(config);
    match action {
        Migrate::Up => {
            for service in services {
                for step in up(config, service)? {
                    console::say(format_args!("{service}: applied {:04} {}", step.version, step.name));
                }
            }
            console::say("every schema is up to date");
            Ok(())
        }
        Migrate::Status => status(config, services),
        Migrate::Plan => plan(config, services),
    }
}

/// The services to look after: those with a PostgreSQL database, and where none has one, all of them
/// with their files.
fn services(config: &Config) -> Vec<Role> {
    let on_servers: Vec<Role> =
        Role::SERVICES.into_iter().filter(|service| config.database.of(*service).is_some()).collect();
    if on_servers.is_empty() { Role::SERVICES.to_vec() } else { on_servers }
}

/// Applies the missing steps to the files of these services and answers them.
pub(crate) fn up_files(folder: &Folder, services: &[Role]) -> Result<Vec<(Role, &'static Migration)>, Failure> {
    let mut applied = Vec::new();
    for service in services {
        let path = folder.private_database(service.as_str())?;
        let steps = schema(*service)?.sqlite;
        let versions = migrate::up(&path, steps).map_err(|error| failed(*service, &error))?;
        applied.extend(chosen(steps, &versions).map(|step| (*service, step)));
    }
    Ok(applied)
}

fn up(config: &Config, service: Role) -> Result<Vec<&'static Migration>, Failure> {
    match ground::place(config, service) {
        Place::File(_) => {
            let folder = Folder::new(&config.data);
            folder.make()?;
            Ok(up_files(&folder, &[service])?.into_iter().map(|(_, step)| step).collect())
        }
        Place::Server(settings) => {
            let schema = schema(service)?;
            let versions = wait_for(service, postgres::migrate::up(&settings, schema))?;
            Ok(chosen(schema.postgres, &versions).collect())
        }
    }
}

fn status(config: &Config, services: Vec<Role>) -> Result<(), Failure> {
    let mut missing = 0;
    for service in services {
        let schema = schema(service)?;
        let steps: Vec<Step> = match ground::place(config, service) {
            Place::File(path) => migrate::status(&path, schema.sqlite).map_err(|error| failed(service, &error))?,
            Place::Server(settings) => wait_for(service, postgres::migrate::status(&settings, schema))?,
        };
        for step in steps {
            let state = if step.applied { "applied" } else { "missing" };
            missing += usize::from(!step.applied);
            console::say(format_args!("{service}  {:04}  {state}  {}", step.version, step.name));
        }
    }
    match missing {
        0 => Ok(()),
        _ => Err(Failure::new(Kind::NotReady, "there are missing steps: run `errand migrate`")),
    }
}

fn plan(config: &Config, services: Vec<Role>) -> Result<(), Failure> {
    let mut planned = 0;
    for service in services {
        let schema = schema(service)?;
        let steps = match ground::place(config, service) {
            Place::File(path) => migrate::plan(&path, schema.sqlite).map_err(|error| failed(service, &error))?,
            Place::Server(settings) => wait_for(service, postgres::migrate::plan(&settings, schema))?,
        };
        for step in steps {
            planned += 1;
            console::say(format_args!("-- {service}: {:04} {}\n{}", step.version, step.name, step.sql.trim_end()));
        }
    }
    if planned == 0 {
        console::say("-- every schema is up to date");
    }
    Ok(())
}

fn schema(service: Role) -> Result<&'static Schema, Failure> {
    service.schema().ok_or_else(|| Failure::new(Kind::Usage, format!("{service} keeps nothing")))
}

fn chosen<'v>(steps: &'static [Migration], versions: &'v [u32]) -> impl Iterator<Item = &'static Migration> + use<'v> {
    steps.iter().filter(|step| versions.contains(&step.version))
}

fn wait_for<T>(service: Role, work: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    block_on(async { work.await.map_err(|error| failed(service, &error)) })
}
