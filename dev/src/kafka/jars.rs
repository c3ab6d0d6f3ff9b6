//! The broker's jar files: fetched with Maven once, and kept.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::directories;

const VERSION: &str = "4.1.1";
const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>annals</groupId><artifactId>broker</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.1.1</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"#;

/// Where the jars are. Several tests at a time, also of several processes, fetch once.
pub(super) fn fetch() -> anyhow::Result<PathBuf> {
    let needs =
        "a real Apache Kafka needs more: install Java 17 or newer and Maven (on Debian: default-jre-headless, maven)";
    present("java", "-version").context(needs)?;
    let directory = directories::kept()?.join(format!("kafka-{VERSION}"));
    std::fs::create_dir_all(&directory)?;
    let lock = File::create(directory.join("lock"))?;
    lock.lock()?;
    let (libs, complete) = (directory.join("libs"), directory.join("complete"));
    if complete.exists() {
        return Ok(libs);
    }
    present("mvn", "-version").context(needs)?;
    std::fs::write(directory.join("pom.xml"), POM)?;
    let output = Command::new("mvn")
        .args(["-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"])
        .args(["-DincludeScope=runtime", "-DoutputDirectory=libs"])
        .current_dir(&directory)
        .output()?;
    let text = [output.stdout, output.stderr].concat();
    ensure!(output.status.success(), "maven could not fetch Kafka {VERSION}:\n{}", String::from_utf8_lossy(&text));
    File::create(complete)?;
    Ok(libs)
}

fn present(program: &str, question: &str) -> anyhow::Result<()> {
    let asked = Command::new(program).arg(question).stdout(Stdio::null()).stderr(Stdio::null()).status();
    ensure!(asked.with_context(|| format!("{program} is not there"))?.success(), "{program} does not work");
    Ok(())
}
