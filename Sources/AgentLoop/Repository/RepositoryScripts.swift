/// The git commands that bring a repository in and its result out. Values come as environment variables, never as part of the text.
///
/// They run in the workspace, on data nobody trusts: no hooks, no protocol but a local file, no configuration of the machine.
enum RepositoryScripts {
    private static let head = """
        set -eu
        export LC_ALL=C GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_TERMINAL_PROMPT=0 GIT_OPTIONAL_LOCKS=0
        command -v git >/dev/null 2>&1 || { echo 'git is not installed in the workspace'; exit 40; }
        g() { git -c core.hooksPath=/dev/null -c core.fsmonitor=false -c commit.gpgSign=false -c gc.auto=0 -c maintenance.auto=false \\
            -c submodule.recurse=false -c protocol.allow=never -c protocol.file.allow=always -c safe.directory='*' "$@"; }

        """

    static let missingGit = 40
    static let unknownBase = 41
    static let notOurs = 42
    static let brokenBundle = 43

    /// Makes the repository from the bundle's parts, on the task's branch. Done before: says where it stands.
    /// Reports `base <commit> <branch>`; with `unknownBase`: `branches <names>`.
    static let open =
        head + """
            report() { read -r commit branch < "$1/.git/slipway-base"; echo "slipway: base $commit $branch"; }
            if [ -e "$REPOSITORY/.git/slipway-base" ]; then report "$REPOSITORY"; exit 0; fi
            if [ -e "$REPOSITORY" ] && [ -n "$(ls -A "$REPOSITORY")" ]; then echo "$REPOSITORY is there already"; exit 42; fi
            [ "$ONLY_LOOK" = 0 ] || { echo 'slipway: missing yes'; exit 0; }
            mkdir -p "$(dirname "$REPOSITORY")"
            rm -rf "$REPOSITORY".slipway-*
            new="$REPOSITORY.slipway-$$"
            trap 'rm -rf "$new" "$new.bundle"' EXIT
            if [ "$PARTS" = 0 ]; then
                g init --quiet --template= --initial-branch=main "$new"
                g -C "$new" -c user.name='Slipway agent' -c user.email=agent@slipway.invalid commit --quiet --allow-empty -m 'Start empty'
                branch=main
            else
                part=0
                while [ "$part" -lt "$PARTS" ]; do cat "$IMPORT/$part"; part=$((part + 1)); done > "$new.bundle"
                g clone --quiet --no-checkout --template= "$new.bundle" "$new" 2>&1 || { echo 'slipway: broken yes'; exit 43; }
                g -C "$new" for-each-ref --format='%(refname:lstrip=3)' refs/remotes/origin | grep -v '^HEAD$' > "$new/.git/slipway-branches" || true
                branch=$BASE
                if [ -z "$branch" ]; then
                    branch=$(g -C "$new" symbolic-ref --quiet --short refs/remotes/origin/HEAD | sed 's,^origin/,,') || true
                fi
                if [ -z "$branch" ] && [ "$(wc -l < "$new/.git/slipway-branches")" = 1 ]; then branch=$(cat "$new/.git/slipway-branches"); fi
                if [ -z "$branch" ]; then branch=HEAD; fi
                base=
                for ref in "refs/remotes/origin/$branch" "refs/tags/$branch" "refs/heads/$branch"; do
                    base=$(g -C "$new" rev-parse --verify --quiet "$ref^{commit}") && break || true
                done
                if [ -z "$base" ] && [ "$branch" = HEAD ]; then base=$(g -C "$new" rev-parse --verify --quiet 'HEAD^{commit}') || true; fi
                if [ -z "$base" ]; then
                    echo "slipway: branches $(head -n 20 "$new/.git/slipway-branches" | tr '\\n' ' ')"
                    exit 41
                fi
                if [ "$branch" = HEAD ]; then
                    name=$(g -C "$new" for-each-ref --points-at "$base" --format='%(refname:lstrip=3)' refs/remotes/origin \
                        | grep -v '^HEAD$' | head -n 1) || true
                    branch=${name:-HEAD}
                fi
                g -C "$new" checkout --quiet --detach "$base"
                g -C "$new" remote remove origin
            fi
            base=$(g -C "$new" rev-parse HEAD)
            g -C "$new" checkout --quiet -B "$BRANCH"
            [ "$branch" = HEAD ] || g -C "$new" branch --quiet --force "$branch" "$base" 2>/dev/null || true
            rm -f "$new/.git/slipway-branches"
            printf '%s %s\\n' "$base" "$branch" > "$new/.git/slipway-base"
            [ ! -e "$REPOSITORY" ] || rmdir "$REPOSITORY"
            mv -T "$new" "$REPOSITORY"
            rm -rf "$IMPORT"
            report "$REPOSITORY"
            """

    /// Commits what is there on the task's branch, and writes bundle and diff against the base into `$OUT`.
    /// Reports `head <commit>`, `count <commits>`, `stat <git's short statistics>`.
    static let save =
        head + """
            cd "$REPOSITORY"
            export GIT_AUTHOR_NAME="$AUTHOR" GIT_AUTHOR_EMAIL="$EMAIL" GIT_COMMITTER_NAME="$AUTHOR" GIT_COMMITTER_EMAIL="$EMAIL"
            g add --all
            if ! g diff --cached --quiet --no-ext-diff; then printf '%s' "$MESSAGE" | g commit --quiet --no-verify --cleanup=whitespace -F -; fi
            head=$(g rev-parse --verify 'HEAD^{commit}')
            g update-ref "refs/heads/$BRANCH" "$head"
            echo "slipway: head $head"
            [ "$head" != "$KNOWN" ] || exit 0
            count=$(g rev-list --count "$BASE..$head")
            rm -rf "$OUT"
            mkdir -p "$OUT"
            g diff --no-ext-diff --no-textconv --no-color --binary --full-index "$BASE" "$head" > "$OUT/diff"
            if [ "$count" != 0 ]; then g bundle create --quiet "$OUT/bundle" "$BASE..refs/heads/$BRANCH" 2>&1; fi
            echo "slipway: stat $(g diff --no-ext-diff --shortstat "$BASE" "$head")"
            echo "slipway: count $count"
            """
}
