// Which key of a guest's keyboard makes which character, by layout.

const KEYS = [
  "Backquote Digit1 Digit2 Digit3 Digit4 Digit5 Digit6 Digit7 Digit8 Digit9 Digit0 Minus Equal",
  "KeyQ KeyW KeyE KeyR KeyT KeyY KeyU KeyI KeyO KeyP BracketLeft BracketRight",
  "KeyA KeyS KeyD KeyF KeyG KeyH KeyJ KeyK KeyL Semicolon Quote Backslash",
  "IntlBackslash KeyZ KeyX KeyC KeyV KeyB KeyN KeyM Comma Period Slash",
].flatMap((row) => row.split(" "));

// Each layer is one character a key, in the order of KEYS; a space stands for none. `dead` keys wait for a second
// one, so a space is pressed after them.
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
    plain: "^1234567890ß´" + "qwertzuiopü+" + "asdfghjklöä#" + "<yxcvbnm,.-",
    shift: '°!"§$%&/()=?`' + "QWERTZUIOPÜ*" + "ASDFGHJKLÖÄ'" + ">YXCVBNM;:_",
    altgr: "  ²³   {[]}\\ " + "@ €        ~" + "            " + "|      µ   ",
    dead: "^´`",
  },
  fr: {
    name: "Français",
    plain: "²&é\"'(-è_çà)=" + "azertyuiop $" + "qsdfghjklmù*" + "<wxcvbn,;:!",
    shift: " 1234567890°+" + "AZERTYUIOP¨£" + "QSDFGHJKLM%µ" + ">WXCVBN?./§",
    altgr: "  ~#{[|`\\^@]}" + "  €         ",
    dead: "¨",
  },
  es: {
    name: "Español",
    plain: "º1234567890'¡" + "qwertyuiop`+" + "asdfghjklñ´ç" + "<zxcvbnm,.-",
    shift: 'ª!"·$%&/()=?¿' + "QWERTYUIOP^*" + "ASDFGHJKLÑ¨Ç" + ">ZXCVBNM;:_",
    altgr: "\\|@#~€¬      " + "          []" + "          {}",
    dead: "`^´¨",
  },
};

const COMMON = { " ": ["Space"], "\n": ["Enter"], "\t": ["Tab"] };

/** [identifier, name] of each layout. */
export const layouts = Object.entries(LAYOUTS).map(([id, layout]) => [id, layout.name]);

/** The strokes that make a character on this layout: lists of codes pressed together; null where there are none. */
export function strokes(character, id) {
  if (COMMON[character]) return [COMMON[character]];
  const layout = LAYOUTS[id];
  for (const [layer, modifier] of [["plain", null], ["shift", "ShiftLeft"], ["altgr", "AltRight"]]) {
    const at = [...(layout[layer] || "")].indexOf(character);
    if (at < 0) continue;
    const stroke = modifier ? [modifier, KEYS[at]] : [KEYS[at]];
    return (layout.dead || "").includes(character) ? [stroke, ["Space"]] : [stroke];
  }
  return null;
}
