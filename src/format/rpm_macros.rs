//! Files of rpm macros (rpm-macros(5)), of which only the place of the database is read: `%_dbpath /var/lib/rpm`.

use crate::model::ImagePath;

/// Directories that macros of rpm stand for everywhere.
const DIRECTORIES: [(&str, &str); 6] = [
    ("%{_var}", "/var"),
    ("%{_localstatedir}", "/var"),
    ("%{_usr}", "/usr"),
    ("%{_prefix}", "/usr"),
    ("%{_exec_prefix}", "/usr"),
    ("%{_sysconfdir}", "/etc"),
];

/// Where a file of macros says that the database is: the values of `%_dbpath`, in their order; as they stand, with
/// the macro, where one is not a directory that is the same everywhere.
pub fn database_paths(bytes: &[u8]) -> impl Iterator<Item = Result<ImagePath, String>> {
    bytes.split(|b| *b == b'\n').filter_map(|line| {
        let line = String::from_utf8_lossy(line);
        let rest = line.trim().strip_prefix("%_dbpath")?;
        let value = rest.strip_prefix([' ', '\t'])?.trim();
        let path = DIRECTORIES.iter().fold(value.to_owned(), |path, (name, is)| path.replace(name, is));
        Some(if path.contains('%') { Err(value.to_owned()) } else { Ok(ImagePath::new(&path)) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_the_database_is_told() {
        let text = "# %_dbpath /no\n%_dbpath\t%{_var}/lib/rpm\n %_dbpath /usr/share/rpm \n%_dbpath_rebuild /x\n%_dbpath %{_x}/rpm\n";
        let told: Vec<_> = database_paths(text.as_bytes()).collect();
        let path = |text: &str| Ok(ImagePath::from(text));
        assert_eq!(told, [path("var/lib/rpm"), path("usr/share/rpm"), Err("%{_x}/rpm".to_owned())]);
    }
}
