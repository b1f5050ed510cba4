# Completion of xe for bash: source this file, or put it into /usr/share/bash-completion/completions/xe.
#
# xe itself knows the candidates (xe complete -- WORD...). Here its words are taken from the line as they were typed: bash splits
# words at = and :, which belong to xe's parameters, so what stands before the last of them is cut off the candidates again.

_xe() {
    local line=${COMP_LINE:0:COMP_POINT} current before candidate
    local -a words
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current=${words[-1]}
    before=
    [[ $current == *[=:]* && $COMP_WORDBREAKS == *[=:]* ]] && before=${current%"${current##*[=:]}"}
    COMPREPLY=()
    while IFS= read -r candidate; do
        # A candidate that asks for a value goes on without a space.
        [[ $candidate == *[=:] ]] && compopt -o nospace 2>/dev/null
        COMPREPLY+=("${candidate#"$before"}")
    done < <("${words[0]}" complete -- "${words[@]:1}" 2>/dev/null)
}

complete -F _xe xe
