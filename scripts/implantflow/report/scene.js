// The page asks by message: which parts are hidden, or where the camera goes; `first` is where it began.
var asked = {
  hidden: function (hidden) {
    var objects = K3DInstance.getWorld().ObjectsListJson;
    Object.keys(objects).forEach(function (id) {
      var visible = hidden.indexOf(Number(id)) < 0;
      if (objects[id].visible !== visible) {
        objects[id].visible = visible;
        K3DInstance.reload(objects[id], { visible: visible });
      }
    });
  },
  // From one side: unit vectors to the eye and up; the distance stays.
  view: function (view) {
    var at = camera();
    place(at.target, view.eye.map(function (v) { return v * at.far; }), view.up);
  },
  // Around the axis from foot to head, then over the top, degrees; closer below 1.
  move: function (move) {
    var at = camera(), e = at.eye;
    var round = Math.atan2(e[1], e[0]) + (move.turn || 0) * Math.PI / 180;
    var tip = Math.asin(Math.max(-1, Math.min(1, e[2] / at.far))) + (move.tip || 0) * Math.PI / 180;
    tip = Math.max(-1.5, Math.min(1.5, tip));
    var far = at.far * (move.zoom || 1);
    place(at.target, [
      far * Math.cos(tip) * Math.cos(round), far * Math.cos(tip) * Math.sin(round), far * Math.sin(tip)
    ], [0, 0, 1]);
  },
  start: function () { K3DInstance.setCamera(first); }
};

function camera() {
  var world = K3DInstance.getWorld(), target = world.controls.target.toArray();
  var eye = world.camera.position.toArray().map(function (v, i) { return v - target[i]; });
  return { target: target, eye: eye, far: Math.hypot(eye[0], eye[1], eye[2]) };
}

function place(target, eye, up) {
  K3DInstance.setCamera(eye.map(function (v, i) { return v + target[i]; }).concat(target, up));
}

window.addEventListener("message", function (event) {
  var wish = event.data && event.data.implantflow;
  if (wish) { Object.keys(wish).forEach(function (what) { if (asked[what]) { asked[what](wish[what]); } }); }
});
window.parent.postMessage({ implantflowScene: "ready" }, "*");
