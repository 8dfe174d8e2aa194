// Which keys of a guest's keyboard make which character, by layout. Where X and Windows differ, Windows is said apart.

const KEYS = [
  "Backquote Digit1 Digit2 Digit3 Digit4 Digit5 Digit6 Digit7 Digit8 Digit9 Digit0 Minus Equal",
  "KeyQ KeyW KeyE KeyR KeyT KeyY KeyU KeyI KeyO KeyP BracketLeft BracketRight",
  "KeyA KeyS KeyD KeyF KeyG KeyH KeyJ KeyK KeyL Semicolon Quote Backslash",
  "IntlBackslash KeyZ KeyX KeyC KeyV KeyB KeyN KeyM Comma Period Slash",
  "IntlYen IntlRo",
].flatMap((row) => row.split(" "));

// Each layer is one character a key, in the order of KEYS; a space stands for none. `dead` keys wait for a letter to put
// their sign on; on Windows those of `windows` do as well.
const LAYOUTS = {
  us: {
    name: "English (US)",
    plain: "`1234567890-=" + "qwertyuiop[]" + "asdfghjkl;'\\" + " zxcvbnm,./",
    shift: "~!@#$%^&*()_+" + "QWERTYUIOP{}" + 'ASDFGHJKL:"|' + " ZXCVBNM<>?",
  },
  gb: {
    name: "English (UK)",
    plain: "`1234567890-=" + "qwertyuiop[]" + "asdfghjkl;'#" + "\\zxcvbnm,./",
    shift: '¬!"£$%^&*()_+' + "QWERTYUIOP{}" + "ASDFGHJKL:@~" + "|ZXCVBNM<>?",
    altgr: "    €",
  },
  de: {
    name: "Deutsch",
    plain: " 1234567890ß " + "qwertzuiopü+" + "asdfghjklöä#" + "<yxcvbnm,.-",
    shift: '°!"§$%&/()=? ' + "QWERTZUIOPÜ*" + "ASDFGHJKLÖÄ'" + ">YXCVBNM;:_",
    altgr: "  ²³   {[]}\\ " + "@ €        ~" + "            " + "|      µ",
    dead: { "^": "Backquote", "´": "Equal", "`": "ShiftLeft Equal" },
  },
  ch: {
    name: "Deutsch (Schweiz)",
    plain: "§1234567890' " + "qwertzuiopü " + "asdfghjklöä$" + "<yxcvbnm,.-",
    shift: '°+"*ç%&/()=? ' + "QWERTZUIOPè!" + "ASDFGHJKLéà£" + ">YXCVBNM;:_",
    altgr: " |@#     ]}  " + "  €       [ " + "          { " + "\\",
    dead: { "^": "Equal", "¨": "BracketRight", "`": "ShiftLeft Equal", "´": "AltRight Minus", "~": "AltRight Equal" },
  },
  "ch-fr": {
    name: "Français (Suisse)",
    plain: "§1234567890' " + "qwertzuiopè " + "asdfghjkléà$" + "<yxcvbnm,.-",
    shift: '°+"*ç%&/()=? ' + "QWERTZUIOPü!" + "ASDFGHJKLöä£" + ">YXCVBNM;:_",
    altgr: " |@#     ]}  " + "  €       [ " + "          { " + "\\",
    dead: { "^": "Equal", "¨": "BracketRight", "`": "ShiftLeft Equal", "´": "AltRight Minus", "~": "AltRight Equal" },
  },
  fr: {
    name: "Français",
    plain: "²&é\"'(-è_çà)=" + "azertyuiop $" + "qsdfghjklmù*" + "<wxcvbn,;:!",
    shift: " 1234567890°+" + "AZERTYUIOP £" + "QSDFGHJKLM%µ" + ">WXCVBN?./§",
    altgr: "  ~#{[|`\\^@]}" + "  €",
    dead: { "^": "BracketLeft", "¨": "ShiftLeft BracketLeft" },
    windows: { "~": "AltRight Digit2", "`": "AltRight Digit7" },
  },
  be: {
    name: "Français (Belgique)",
    plain: "²&é\"'(§è!çà)-" + "azertyuiop $" + "qsdfghjklmùµ" + "<wxcvbn,;:=",
    shift: "³1234567890°_" + "AZERTYUIOP *" + "QSDFGHJKLM%£" + ">WXCVBN?./+",
    altgr: " |@#  ^{  }\\ " + "  €       []" + "            " + "\\",
    dead: { "^": "BracketLeft", "¨": "ShiftLeft BracketLeft", "´": "AltRight Quote", "`": "AltRight Backslash", "~": "AltRight Slash" },
  },
  es: {
    name: "Español",
    plain: "º1234567890'¡" + "qwertyuiop +" + "asdfghjklñ ç" + "<zxcvbnm,.-",
    shift: 'ª!"·$%&/()=?¿' + "QWERTYUIOP *" + "ASDFGHJKLÑ Ç" + ">ZXCVBNM;:_",
    altgr: "\\|@#~        " + "  €       []" + "          {}",
    dead: { "`": "BracketLeft", "^": "ShiftLeft BracketLeft", "´": "Quote", "¨": "ShiftLeft Quote" },
    windows: { "~": "AltRight Digit4" },
  },
  latam: {
    name: "Español (Latinoamérica)",
    plain: "|1234567890'¿" + "qwertyuiop +" + "asdfghjklñ{}" + "<zxcvbnm,.-",
    shift: '°!"#$%&/()=?¡' + "QWERTYUIOP *" + "ASDFGHJKLÑ[]" + ">ZXCVBNM;:_",
    altgr: "           \\ " + "@          ~",
    dead: { "´": "BracketLeft", "¨": "ShiftLeft BracketLeft", "^": "AltRight Quote", "`": "AltRight Backslash" },
  },
  it: {
    name: "Italiano",
    plain: "\\1234567890'ì" + "qwertyuiopè+" + "asdfghjklòàù" + "<zxcvbnm,.-",
    shift: '|!"£$%&/()=?^' + "QWERTYUIOPé*" + "ASDFGHJKLç°§" + ">ZXCVBNM;:_",
    altgr: "       {  }`~" + "  €       []" + "         @#",
  },
  pt: {
    name: "Português",
    plain: "\\1234567890'«" + "qwertyuiop+ " + "asdfghjklçº " + "<zxcvbnm,.-",
    shift: '|!"#$%&/()=?»' + "QWERTYUIOP* " + "ASDFGHJKLÇª " + ">ZXCVBNM;:_",
    altgr: "  @£§  {[]}  " + "  €",
    dead: { "´": "BracketRight", "`": "ShiftLeft BracketRight", "~": "Backslash", "^": "ShiftLeft Backslash", "¨": "AltRight BracketLeft" },
  },
  br: {
    name: "Português (Brasil)",
    plain: "'1234567890-=" + "qwertyuiop [" + "asdfghjklç ]" + "\\zxcvbnm,.;" + " /",
    shift: '"!@#$% &*()_+' + "QWERTYUIOP {" + "ASDFGHJKLÇ }" + "|ZXCVBNM<>:" + " ?",
    dead: { "´": "BracketLeft", "`": "ShiftLeft BracketLeft", "~": "Quote", "^": "ShiftLeft Quote", "¨": "ShiftLeft Digit6" },
  },
  se: {
    name: "Svenska, suomi",
    plain: "§1234567890+ " + "qwertyuiopå " + "asdfghjklöä'" + "<zxcvbnm,.-",
    shift: '½!"#¤%&/()=? ' + "QWERTYUIOPÅ " + "ASDFGHJKLÖÄ*" + ">ZXCVBNM;:_",
    altgr: "  @£$€ {[]}\\ " + "            " + "            " + "|",
    dead: { "´": "Equal", "`": "ShiftLeft Equal", "¨": "BracketRight", "^": "ShiftLeft BracketRight", "~": "AltRight BracketRight" },
  },
  no: {
    name: "Norsk",
    plain: "|1234567890+\\" + "qwertyuiopå " + "asdfghjkløæ'" + "<zxcvbnm,.-",
    shift: '§!"#¤%&/()=? ' + "QWERTYUIOPÅ " + "ASDFGHJKLØÆ*" + ">ZXCVBNM;:_",
    altgr: "  @£$  {[]}  " + "  €",
    dead: { "¨": "BracketRight", "^": "ShiftLeft BracketRight", "~": "AltRight BracketRight", "`": "ShiftLeft Equal", "´": "AltRight Equal" },
  },
  dk: {
    name: "Dansk",
    plain: "½1234567890+ " + "qwertyuiopå " + "asdfghjklæø'" + "<zxcvbnm,.-",
    shift: '§!"#¤%&/()=? ' + "QWERTYUIOPÅ " + "ASDFGHJKLÆØ*" + ">ZXCVBNM;:_",
    altgr: "  @£$  {[]} |" + "  €         " + "            " + "\\",
    dead: { "´": "Equal", "`": "ShiftLeft Equal", "¨": "BracketRight", "^": "ShiftLeft BracketRight", "~": "AltRight BracketRight" },
  },
  pl: {
    name: "Polski",
    plain: "`1234567890-=" + "qwertyuiop[]" + "asdfghjkl;'\\" + " zxcvbnm,./",
    shift: "~!@#$%^&*()_+" + "QWERTYUIOP{}" + 'ASDFGHJKL:"|' + " ZXCVBNM<>?",
    altgr: "             " + "  ę     ó   " + "ąś      ł   " + " żźć  ń",
    both: "             " + "  Ę     Ó   " + "ĄŚ      Ł   " + " ŻŹĆ  Ń",
    windows: { "~": "ShiftLeft Backquote" },
  },
  tr: {
    name: "Türkçe",
    plain: '"1234567890*-' + "qwertyuıopğü" + "asdfghjklşi," + "<zxcvbnmöç.",
    shift: "é!'^+%&/()=?_" + "QWERTYUIOPĞÜ" + "ASDFGHJKLŞİ;" + ">ZXCVBNMÖÇ:",
    altgr: "  £#$  {[]}\\|" + "@ €        ~" + "           `",
    windows: { "~": "AltRight BracketRight", "`": "AltRight Backslash", "^": "ShiftLeft Digit3" },
  },
  jp: {
    name: "日本語",
    plain: " 1234567890-^" + "qwertyuiop@[" + "asdfghjkl;:]" + " zxcvbnm,./" + "\\",
    shift: " !\"#$%&'() =~" + "QWERTYUIOP`{" + "ASDFGHJKL+*}" + " ZXCVBNM<>?" + "|_",
  },
};

const COMMON = { " ": "Space", "\n": "Enter", "\t": "Tab" };
const LAYERS = { plain: "", shift: "ShiftLeft ", altgr: "AltRight ", both: "ShiftLeft AltRight " };
/** The signs on letters, as Unicode writes them behind the letter, and as they stand alone. */
const SIGNS = { "\u0300": "`", "\u0301": "´", "\u0302": "^", "\u0303": "~", "\u0308": "¨" };
/** Those that a dead key makes of itself before a space; X makes quotes of the others. */
const ALONE = "^`~";

/** [identifier, name] of each layout. */
export const layouts = Object.entries(LAYOUTS).map(([id, layout]) => [id, layout.name]);

/** The layout that a person's languages ("de-CH") make likely. */
export function likelyLayout(languages) {
  const known = { en: "us", "en-gb": "gb", "es-es": "es", es: "latam", "pt-br": "br", da: "dk", sv: "se", fi: "se", nb: "no", nn: "no", ja: "jp", "de-ch": "ch", "fr-ch": "ch-fr", "fr-be": "be" };
  for (const language of languages.map((one) => one.toLowerCase())) {
    const [short] = language.split("-");
    const found = known[language] ?? known[short] ?? (short in LAYOUTS ? short : null);
    if (found) return found;
  }
  return "us";
}

/** The strokes that make a character: lists of codes that are pressed together; null where the layout has none. */
export function strokes(character, id, windows = false) {
  if (COMMON[character]) return [[COMMON[character]]];
  const layout = LAYOUTS[id];
  const dead = { ...layout.dead, ...(windows ? layout.windows : {}) };
  const live = windows && layout.windows?.[character] ? null : liveStroke(character, layout);
  if (live) return [live];
  if (dead[character]) {
    const stroke = dead[character].split(" ");
    return [stroke, windows || ALONE.includes(character) ? ["Space"] : stroke];
  }
  const [letter, sign, ...more] = character.normalize("NFD");
  if (more.length || !dead[SIGNS[sign]]) return null;
  const base = liveStroke(letter, layout);
  return base && [dead[SIGNS[sign]].split(" "), base];
}

/** The keys that make a character by themselves. */
function liveStroke(character, layout) {
  for (const [layer, modifiers] of Object.entries(LAYERS)) {
    const at = [...(layout[layer] ?? "")].indexOf(character);
    if (at >= 0) return `${modifiers}${KEYS[at]}`.split(" ");
  }
  return null;
}
